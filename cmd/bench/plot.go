package main

import (
	"fmt"
	"math"
	"strings"
)

// A line is one of a plot.
type line struct {
	name   string
	colour string
	points [][2]float64
}

// plot draws lines with both axes logarithmic, as SVG that is readable on light
// and dark.
func plot(title, x, y string, lines []line) string {
	const width, height, left, right, top, bottom = 720.0, 400.0, 70.0, 180.0, 40.0, 50.0
	low, high := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for _, l := range lines {
		for _, p := range l.points {
			for axis, v := range p {
				low[axis], high[axis] = min(low[axis], math.Floor(math.Log10(v))), max(high[axis], math.Ceil(math.Log10(v)))
			}
		}
	}
	at := func(p [2]float64) (px, py float64) {
		fraction := func(axis int) float64 { return (math.Log10(p[axis]) - low[axis]) / max(high[axis]-low[axis], 1) }
		return left + fraction(0)*(width-left-right), height - bottom - fraction(1)*(height-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13" fill="#777">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>%s</title><text x="%g" y="22" font-size="15">%[1]s</text>`+"\n", title, left)
	for e := low[0]; e <= high[0]; e++ {
		px, _ := at([2]float64{math.Pow(10, e), math.Pow(10, low[1])})
		fmt.Fprintf(&b, `<path d="M%.1f %g V%g" stroke="#7774"/><text x="%[1]f" y="%[4]g" text-anchor="middle">%s</text>`+"\n", px, top, height-bottom, height-bottom+18, power(e))
	}
	for e := low[1]; e <= high[1]; e++ {
		_, py := at([2]float64{math.Pow(10, low[0]), math.Pow(10, e)})
		fmt.Fprintf(&b, `<path d="M%g %.1f H%g" stroke="#7774"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", left, py, width-right, left-6, py+4, power(e))
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-10, x)
	fmt.Fprintf(&b, `<text x="16" y="%g" transform="rotate(-90 16 %[1]g)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, y)
	for _, l := range lines {
		var path []string
		var px, py float64
		for _, p := range l.points {
			px, py = at(p)
			path = append(path, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", px, py, l.colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%.1f" y="%.1f" fill="%[2]s">%[5]s</text>`+"\n",
			strings.Join(path, " "), l.colour, px+8, py+4, l.name)
	}
	return b.String() + "</svg>\n"
}

// power writes ten to the e as people do.
func power(e float64) string {
	switch {
	case e >= 6:
		return fmt.Sprintf("%g M", math.Pow(10, e-6))
	case e >= 3:
		return fmt.Sprintf("%g k", math.Pow(10, e-3))
	}
	return fmt.Sprintf("%g", math.Pow(10, e))
}
