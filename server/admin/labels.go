package admin

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func boolLabel(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
