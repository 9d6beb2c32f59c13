package http1

var Parse = parse
