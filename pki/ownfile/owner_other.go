//go:build !unix

package ownfile

import "io/fs"

// Modes say nothing of access here; folders inherit the access list of the user's profile.

func owned(string, fs.FileInfo) error { return nil }

func shared(fs.FileInfo) bool { return false }

// NoFollow is the flag with which opening a symbolic link is an error, if there is one.
const NoFollow = 0

func anyoneWrites(fs.FileInfo) bool { return false }

func isMount(string, fs.FileInfo) bool { return false }

func ofOurGroup(fs.FileInfo) bool { return true }

// HasLinks reports whether the file has a second name, where that is known.
func HasLinks(fs.FileInfo) bool { return false }
