// Package audit owns the audit log: JSON lines, one for each refused request,
// one for each change, and one for each tool call where that is configured, in
// a file that rotates by size or on standard output.
//
// Its invariant: what a record holds ends up as one whole line of JSON, or the
// record is reported as missing; a line that the disk cut short never spoils
// the next one. A reader skips lines that are empty or do not parse.
//
// It refuses links, pipes and sockets as the file, and makes no folder. A
// [Record] has no place for arguments, tokens, keys or raw paths.
//
// Lines are handed to the kernel before Write returns, not forced to the disk.
package audit
