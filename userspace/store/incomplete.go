package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// incompleteSuffix names the file beside the store that says that pins or
// decisions may have been lost and were not made up for yet. It outlives a
// start that fails after the store was salvaged.
const incompleteSuffix = ".incomplete"

func markIncomplete(path string) error {
	f, err := os.OpenFile(path+incompleteSuffix, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(path)
}

// Incomplete reports whether the file was found damaged or emptied, now or at
// an earlier opening, and Completed was not called since.
func (s *Store) Incomplete() bool {
	_, err := os.Stat(s.path + incompleteSuffix)
	return !errors.Is(err, fs.ErrNotExist)
}

// Completed says that what can be made up for is stored.
func (s *Store) Completed() error {
	if err := os.Remove(s.path + incompleteSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	return nil
}
