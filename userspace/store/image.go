package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// image reads a bbolt file page by page, with every offset checked and
// without mapping it: bbolt itself trusts what it maps and panics, or dies by
// SIGBUS, on a damaged file. The format is that of go.etcd.io/bbolt version 2
// (internal/common: page.go, meta.go, bucket.go), in the byte order of the
// machine.
type image struct {
	r        *window
	pageSize int
	head     meta
	pages    uint64   // in use, by the newest header
	scratch  []byte   // one page
	ahead    []int64  // where pages begin that are wanted next
	seen     []uint64 // bitmap of pages that are accounted for
	damage   []string // in words, at most maxDamage
	damaged  int      // how many there were
}

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeaderSize = 16
	metaSize       = 64
	elementSize    = 16 // of branch and leaf elements alike
	bucketSize     = 16 // root page and sequence, before an inline page

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	leafBucket = 0x01 // this leaf element is a bucket

	firstTx = 1 // of the headers of a new file (bbolt: DB.init)

	maxPageSize = 1 << 16
	maxDamage   = 8
	maxDepth    = 32
)

// meta is one of the two headers; the valid one with the higher transaction
// counts.
type meta struct {
	pageSize       uint32
	root, freelist uint64
	pages, tx      uint64
}

var (
	errNotBolt = errors.New("not a database file")
	native     = binary.NativeEndian
)

// openImage reads the headers. A file without a valid header is errNotBolt.
// Where only one of the two is valid the last transaction may be missing,
// which is noted as damage.
func openImage(r io.ReaderAt, size int64) (*image, error) {
	im := &image{r: &window{r: r}}
	first, firstErr := readMeta(r, 0)
	var second meta
	secondErr := errNotBolt
	if firstErr == nil {
		second, secondErr = readMeta(r, int64(first.pageSize))
	} else {
		for at := int64(1024); at <= maxPageSize && secondErr != nil; at *= 2 {
			if second, secondErr = readMeta(r, at); secondErr == nil && int64(second.pageSize) != at {
				secondErr = errNotBolt
			}
		}
	}
	switch {
	case firstErr != nil && secondErr != nil:
		return nil, errNotBolt
	case firstErr != nil:
		im.head = second
	case secondErr != nil || first.tx > second.tx:
		im.head = first
	default:
		im.head = second
	}
	im.pageSize = int(im.head.pageSize)
	if firstErr != nil || secondErr != nil {
		im.note("one of the two headers is damaged: the last change before the damage may be missing")
	}
	onDisk := uint64(size) / uint64(im.pageSize)
	if im.pages = im.head.pages; im.pages > onDisk {
		im.note("the file ends at page %d of %d", onDisk, im.pages)
		im.pages = onDisk
	}
	im.scratch = make([]byte, im.pageSize)
	im.seen = make([]uint64, im.pages/64+1)
	im.claim(0, 2)
	return im, nil
}

func readMeta(r io.ReaderAt, at int64) (meta, error) {
	var b [pageHeaderSize + metaSize]byte
	if _, err := r.ReadAt(b[:], at); err != nil {
		return meta{}, errNotBolt
	}
	m := b[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(m[:metaSize-8])
	page := native.Uint32(m[8:])
	if native.Uint32(m) != boltMagic || native.Uint32(m[4:]) != boltVersion ||
		native.Uint64(m[metaSize-8:]) != sum.Sum64() ||
		page < 1024 || page > maxPageSize || page&(page-1) != 0 {
		return meta{}, errNotBolt
	}
	return meta{
		pageSize: page,
		root:     native.Uint64(m[16:]),
		freelist: native.Uint64(m[32:]),
		pages:    native.Uint64(m[40:]),
		tx:       native.Uint64(m[48:]),
	}, nil
}

func (im *image) note(format string, args ...any) {
	if im.damaged++; len(im.damage) < maxDamage {
		im.damage = append(im.damage, fmt.Sprintf(format, args...))
	}
}

// claim marks n pages from id on as accounted for and reports whether none of
// them was before.
func (im *image) claim(id, n uint64) bool {
	if id >= im.pages || n > im.pages-id {
		return false
	}
	free := true
	for i := id; i < id+n; i++ {
		bit := uint64(1) << (i % 64)
		free = free && im.seen[i/64]&bit == 0
		im.seen[i/64] |= bit
	}
	return free
}

// page is a page, or the inline page of a small bucket.
type page struct {
	flags, count uint16
	b            []byte // from the page's header on
}

// page reads a page and those it runs over into. A leaf's content is valid
// until the next call.
func (im *image) page(id uint64) (page, error) {
	if id >= im.pages {
		return page{}, fmt.Errorf("page %d is beyond the end", id)
	}
	b := im.scratch
	if _, err := im.r.ReadAt(b, int64(id)*int64(im.pageSize)); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	if got := native.Uint64(b); got != id {
		return page{}, fmt.Errorf("page %d says it is page %d", id, got)
	}
	span := uint64(native.Uint32(b[12:])) + 1
	if !im.claim(id, span) {
		return page{}, fmt.Errorf("page %d with %d more does not fit or is used twice", id, span-1)
	}
	if span > 1 || native.Uint16(b[8:]) != flagLeaf {
		b = append(make([]byte, 0, int(span)*im.pageSize), b...)[:int(span)*im.pageSize]
		if _, err := im.r.ReadAt(b[im.pageSize:], int64(id+1)*int64(im.pageSize)); err != nil {
			return page{}, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return page{flags: native.Uint16(b[8:]), count: native.Uint16(b[10:]), b: b}, nil
}

// element returns the i-th element's header and what it points at.
func (p page) element(i int, lens func(header []byte) (pos, size uint32)) (header, data []byte, err error) {
	at := pageHeaderSize + i*elementSize
	if at+elementSize > len(p.b) {
		return nil, nil, fmt.Errorf("element %d is beyond the page", i)
	}
	header = p.b[at : at+elementSize]
	pos, size := lens(header)
	start := uint64(at) + uint64(pos)
	if start+uint64(size) > uint64(len(p.b)) {
		return nil, nil, fmt.Errorf("element %d points beyond the page", i)
	}
	return header, p.b[start : start+uint64(size)], nil
}

func branchLens(h []byte) (pos, size uint32) { return native.Uint32(h), native.Uint32(h[4:]) }

func leafLens(h []byte) (pos, size uint32) {
	key, value := native.Uint32(h[8:]), native.Uint32(h[12:])
	if key > maxElement || value > maxElement {
		return 0, 1 << 31 // more than any page holds
	}
	return native.Uint32(h[4:]), key + value
}

// maxElement bounds a key or a value (bbolt: MaxValueSize is 2 GiB - 2).
const maxElement = 1 << 29

// visitor is given every leaf element in order.
type visitor func(flags uint32, key, value []byte)

// walker goes through one tree. What cannot be read is noted and left out;
// the rest is still visited.
type walker struct {
	im    *image
	visit visitor
	last  []byte // the key visited last
	least uint16 // elements that the tree has, if it is a single page
}

func (im *image) walk(root uint64, visit visitor) {
	w := &walker{im: im, visit: visit}
	w.page(root, nil, 0)
}

// page visits the tree under page id, whose keys are not below floor.
func (w *walker) page(id uint64, floor []byte, depth int) {
	p, err := w.im.page(id)
	if err == nil && depth > maxDepth {
		err = fmt.Errorf("page %d is too deep", id)
	}
	if err != nil {
		w.im.note("%v", err)
		return
	}
	switch p.flags {
	case flagLeaf:
		if depth == 0 && p.count < w.least {
			w.im.note("page %d says that it has %d elements, not %d", id, p.count, w.least)
			p.count = w.least
		}
		w.leaf(p, id, floor)
	case flagBranch:
		w.branch(p, id, depth)
	default:
		w.im.note("page %d is of unknown kind %#x", id, p.flags)
	}
}

func (w *walker) branch(p page, id uint64, depth int) {
	if p.count == 0 {
		w.im.note("page %d is empty", id)
	}
	ahead := windowSize / w.im.pageSize
	for i := range int(p.count) {
		if i%ahead == 0 {
			w.im.expect(p, i, min(i+ahead, int(p.count)))
		}
		header, key, err := p.element(i, branchLens)
		if err != nil {
			w.im.note("page %d: %v", id, err)
			continue
		}
		if len(key) == 0 || w.last != nil && bytes.Compare(key, w.last) <= 0 {
			w.im.note("page %d: key %d is out of order", id, i)
		}
		w.page(native.Uint64(header[8:]), key, depth+1)
	}
}

// expect reads ahead the pages that a branch names from one element to another.
func (im *image) expect(p page, from, to int) {
	im.ahead = im.ahead[:0]
	for i := from; i < to; i++ {
		if header, _, err := p.element(i, branchLens); err == nil {
			if id := native.Uint64(header[8:]); id < im.pages {
				im.ahead = append(im.ahead, int64(id)*int64(im.pageSize))
			}
		}
	}
	im.r.expect(im.ahead, im.pageSize)
}

func (w *walker) leaf(p page, id uint64, floor []byte) {
	for i := range int(p.count) {
		header, data, err := p.element(i, leafLens)
		if err != nil {
			w.im.note("page %d: %v", id, err)
			continue
		}
		size := native.Uint32(header[8:])
		key := data[:size]
		if size == 0 || bytes.Compare(key, floor) < 0 || w.last != nil && bytes.Compare(key, w.last) <= 0 {
			w.im.note("page %d: key %d is out of order", id, i)
		}
		w.last = append(w.last[:0], key...)
		w.visit(native.Uint32(header), key, data[size:])
	}
}

// bucket is a top-level bucket: its root page, or its content if it is small
// enough to stand in the page that names it.
type bucket struct {
	name   string
	root   uint64
	inline []byte
}

// buckets returns the top-level buckets. The transaction after those that
// bbolt begins a file with makes all of ours; from then on a page that names
// fewer is damaged, even where nothing else tells, as small buckets stand in
// it.
func (im *image) buckets() []bucket {
	var all []bucket
	w := &walker{im: im}
	if im.head.tx > firstTx {
		w.least = uint16(bucketCount)
	}
	w.visit = func(flags uint32, name, value []byte) {
		if flags&leafBucket == 0 || len(value) < bucketSize {
			im.note("%q is not a bucket", name)
			return
		}
		all = append(all, bucket{string(name), native.Uint64(value), bytes.Clone(value[bucketSize:])})
	}
	w.page(im.head.root, nil, 0)
	return all
}

func (im *image) walkBucket(b bucket, visit visitor) {
	if b.root != 0 {
		im.walk(b.root, visit)
		return
	}
	if len(b.inline) < pageHeaderSize || native.Uint16(b.inline[8:]) != flagLeaf {
		im.note("bucket %q is damaged", b.name)
		return
	}
	w := &walker{im: im, visit: visit}
	w.leaf(page{flags: flagLeaf, count: native.Uint16(b.inline[10:]), b: b.inline}, 0, nil)
}

// claimFree accounts for the free pages: one that is in use as well would be
// handed out and overwritten later.
func (im *image) claimFree() {
	p, err := im.page(im.head.freelist)
	if err == nil && p.flags != flagFreelist {
		err = fmt.Errorf("page %d is not the list of free pages", im.head.freelist)
	}
	if err != nil {
		im.note("%v", err)
		return
	}
	ids := p.b[pageHeaderSize:]
	count := uint64(p.count)
	if p.count == 0xFFFF && len(ids) >= 8 {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		im.note("the list of free pages is damaged")
		return
	}
	for i := range count {
		if id := native.Uint64(ids[i*8:]); !im.claim(id, 1) {
			im.note("page %d is both free and in use", id)
		}
	}
}

// claimRest notes the pages that are neither free nor in use.
func (im *image) claimRest() {
	for id := range im.pages {
		if im.seen[id/64]&(1<<(id%64)) == 0 {
			im.note("page %d is neither free nor in use", id)
		}
	}
}
