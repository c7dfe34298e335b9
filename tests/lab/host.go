package lab

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// hostWorld is the world's namespace where the mail host is this machine.
const hostWorld = "world"

// Surround makes this machine the mail host: Interface, one of two NICs that
// are joined, gets the mail host's addresses, and the other, peer, goes into a
// namespace that holds everybody else. It is meant for a machine that nobody
// else uses, and waits for the NICs.
func Surround(ctx context.Context, peer string) error {
	if err := shareNamespaces(); err != nil {
		return err
	}
	var link netlink.Link
	err := Poll(ctx, Patience, "two NICs", func() bool {
		_, here := netlink.LinkByName(Interface)
		there, err := netlink.LinkByName(peer)
		link = there
		return here == nil && err == nil
	})
	if err != nil {
		return err
	}
	world, err := newNamespace(hostWorld)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetNsFd(link, int(world.handle)); err != nil {
		return fmt.Errorf("move %s into the world: %w", peer, err)
	}
	if err := prepareSysctl(); err != nil {
		return err
	}
	err = world.Do(func() error {
		if err := prepareSysctl(); err != nil {
			return err
		}
		link, err := netlink.LinkByName(peer)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetName(link, WorldInterface); err != nil {
			return err
		}
		return setupWorld()
	})
	if err != nil {
		return fmt.Errorf("set up the world's network: %w", err)
	}
	if err := setupMail(); err != nil {
		return fmt.Errorf("set up the mail host's network: %w", err)
	}
	return nil
}

// OnHost is the lab on a machine that Surround has prepared, with the servers
// that run there. It starts nothing; dir is for its files.
func OnHost(dir string) (*Lab, error) {
	l := &Lab{Dir: dir}
	for name, where := range map[string]**Namespace{
		filepath.Join(netnsDir, hostWorld): &l.World,
		"/proc/1/ns/net":                   &l.Mail,
	} {
		handle, err := netns.GetFromPath(name)
		if err != nil {
			return nil, fmt.Errorf("open namespace %s: %w", name, err)
		}
		*where = &Namespace{Name: filepath.Base(name), handle: handle}
	}
	return l, nil
}
