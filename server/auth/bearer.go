package auth

import "strings"

// maxToken bounds a Bearer token, in bytes.
const maxToken = 8 << 10

// parseBearer reads the values of the Authorization header (RFC 6750, 2.1). It
// is stricter than HTTP: one header, the scheme (without regard to case), one
// space, and a token of base64url characters and dots, the alphabet that API
// keys and JWTs share. Another scheme is no token at all.
func parseBearer(values []string) (token string, reason Reason) {
	switch len(values) {
	case 0:
		return "", TokenMissing
	case 1:
	default:
		return "", TokenMalformed
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if len(scheme) > 6 && strings.EqualFold(scheme[:6], "Bearer") && !isTokenByte(scheme[6]) {
			return "", TokenMalformed // "Bearer\tx"
		}
		return "", TokenMissing
	}
	if !found || token == "" {
		return "", TokenMissing
	}
	if len(token) > maxToken {
		return "", TokenMalformed
	}
	for i := range len(token) {
		if !isTokenByte(token[i]) && token[i] != '.' {
			return "", TokenMalformed
		}
	}
	return token, ""
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
