package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"weir/userspace/config"
	"weir/userspace/lists"
)

const (
	listsEvery = time.Second // between two looks at the files
	listsChunk = 4096        // decisions that enter the ledger at once
)

// listService keeps the ledger in line with the operator's lists.
func (a *Agent) listService() *service {
	return &service{
		name: "reading the lists",
		wants: func(c *config.Config) (any, error) {
			if len(c.Lists) == 0 && len(a.listed) == 0 {
				return nil, nil
			}
			return c.Lists, nil
		},
		start: a.startLists,
	}
}

// startLists brings the lists into the ledger, and then follows their files.
// What no list says any more goes; what one says that cannot be read now stays
// as it was kept.
func (a *Agent) startLists(c *config.Config) (stop func(), err error) {
	followers := make([]*lists.Follower, len(c.Lists))
	contents := make([]lists.Content, len(c.Lists))
	for i, l := range c.Lists {
		keep := filepath.Join(c.StateDir, "lists", l.Name)
		followers[i] = lists.NewFollower(lists.List(l), keep)
		if contents[i], err = followers[i].Start(a.o.Now()); err != nil {
			a.log.Error("a list cannot be read", "error", err)
		}
		a.log.Info("list read", "list", l.Name, "prefixes", len(contents[i].Rows))
	}
	if err := a.list(contents); err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.followed = followers
	a.mu.Unlock()
	end := background(func(ctx context.Context) { a.followLists(ctx, followers, contents) })
	return func() {
		end()
		a.mu.Lock()
		a.followed = nil
		a.mu.Unlock()
	}, nil
}

func (a *Agent) followLists(ctx context.Context, followers []*lists.Follower, contents []lists.Content) {
	every(ctx, listsEvery, func() error {
		changed := false
		for i, f := range followers {
			content, news, err := f.Look(a.o.Now())
			if err != nil {
				a.log.Error("a list cannot be read", "error", err)
			}
			if news {
				a.log.Info("list read again", "list", f.Name, "prefixes", len(content.Rows))
				contents[i], changed = content, true
			}
		}
		if !changed {
			return nil
		}
		return a.list(contents)
	})
}

// list makes the ledger hold what the lists say now. What is new comes before
// what is gone, in parts, so that records do not wait for a long list.
func (a *Agent) list(contents []lists.Content) error {
	after := lists.Merge(contents)
	put, gone := lists.Diff(a.listed, after)
	for chunk := range slices.Chunk(put, listsChunk) {
		err := a.core.do(context.Background(), func() {
			_ = a.core.enforce(a.core.ledger.PutListed(chunk...)) // said and tried again there
		})
		if err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(gone, listsChunk) {
		err := a.core.do(context.Background(), func() {
			_ = a.core.enforce(a.core.ledger.RemoveListed(chunk...))
		})
		if err != nil {
			return err
		}
	}
	a.listed = after
	return nil
}

// listNotes tell how the lists fare, for status.
func (a *Agent) listNotes() (notes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.followed {
		notes = append(notes, fmt.Sprintf("list %s: %d prefixes to %v, from %s", f.Name, f.Rows(), f.Action, f.Path))
	}
	return notes
}
