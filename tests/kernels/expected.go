package main

// skip names a test that cannot run on a kind of kernel.
type skip struct{ kind, pkg, test string }

// expected lists every skip that there may be, and why. A test that is skipped
// and not listed fails the run, and so does a listed one that is not skipped.
var expected = map[skip]string{
	{"6.1", "./tests/kernels/guest", "TestOldKernelIsRefused"}:  "this kernel is not too old",
	{"6.12", "./tests/kernels/guest", "TestOldKernelIsRefused"}: "this kernel is not too old",
	{"5.10", "./tests/kernels/guest", "TestVirtio"}:             "weir refuses this kernel",
	{"6.1", "./loader", "TestUploadsSettleAtTheirRate"}:         "an emulated machine's time stands still now and then",
	{"6.12", "./loader", "TestUploadsSettleAtTheirRate"}:        "an emulated machine's time stands still now and then",
	{"6.1", "./loader", "TestMemoryAtOnce"}:                     "before 6.4 the kernel tells of maps what they could take, not what they do",
	{"6.1", "./loader", "TestTarpitAnswersOutliveTheAgent"}:     "tcx, which answers where native XDP cannot, is Linux 6.6's",
}
