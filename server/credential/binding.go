package credential

import (
	"encoding/binary"
	"fmt"

	"github.com/sangate/sangate/server/store"
)

// The forms in which ciphertexts are bound to what they belong to.
const (
	formUnnamed = 1 // of older versions: without the name, and with "|" between the parts
	formNamed   = 2
)

// keysetData binds a wrapped keyset to what it is for and to its generation, so
// that an older one cannot be passed off as the newest. Keys of one form do not
// open as those of another, whatever the database says of their form.
func keysetData(form, generation int64) []byte {
	if form == formUnnamed {
		return []byte("sangate/v1|keyset")
	}
	return binary.BigEndian.AppendUint64(fmt.Appendf(nil, "sangate/v%d|keyset|", form), uint64(generation))
}

// associated binds a ciphertext to its row, version, tenant and name, and to what
// the secret is used as. Each part has its length before it: nothing that a part
// contains moves its border.
func associated(form int64, c *store.Credential) []byte {
	if form == formUnnamed {
		return fmt.Appendf(nil, "sangate/v1|%s|%d|%d|%s|%s", c.Tenant, c.ID, c.Version, c.Type, c.Header)
	}
	data := fmt.Appendf(nil, "sangate/v%d|credential|", form)
	data = binary.BigEndian.AppendUint64(data, uint64(c.ID))
	data = binary.BigEndian.AppendUint64(data, uint64(c.Version))
	for _, part := range []string{c.Tenant, c.Name, c.Type, c.Header} {
		data = binary.BigEndian.AppendUint64(data, uint64(len(part)))
		data = append(data, part...)
	}
	return data
}

func open(k *keys, c *store.Credential) ([]byte, error) {
	value, err := k.aead.Decrypt(c.Sealed, associated(k.form, c))
	if err != nil {
		return nil, fmt.Errorf("credential %d does not open: its row was changed by hand, or was sealed by other keys; "+
			"rotate or delete it", c.ID)
	}
	return value, nil
}
