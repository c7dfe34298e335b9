#!/bin/bash
# Sets up a Debian 12 machine for weir's demo and tests, and finds Go for the
# Makefile. Only what is missing is installed, and no service is started.
#
#   tests/setup.sh go        print the path of a Go that is new enough for
#                            go.mod; fetches one if there is none (root)
#   tests/setup.sh demo      install what `make demo` needs
#   tests/setup.sh test      install what `make test` needs; Exim is unpacked as
#                            below, as it cannot stand beside Postfix
#   tests/setup.sh dovecot24 unpack Dovecot 2.4 and all it needs, of Debian 13,
#                            outside of the tree, and print where (root)
#   tests/setup.sh bench     unpack the programs that `make bench-intake` compares
#                            weir with, outside of the tree, and print where
#   tests/setup.sh bench datapath
#                            the same for `make bench-datapath`; the packet
#                            filters of Debian are installed (root)
#   tests/setup.sh bench policy
#                            the same for `make bench-policy` and `make
#                            bench-stolen`; what other policy servers need is
#                            installed (root)
#   tests/setup.sh kernels   install what `make test-kernels` needs, unpack
#                            Debian's kernels outside of the tree, and print where
#   tests/setup.sh vm        make the disk of a Debian 12 with systemd, Postfix and
#                            Dovecot, for `make test-vm`, outside of the tree, and
#                            print where (root)
#   tests/setup.sh package   install what looks into the packages that `make
#                            package` builds
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

demo_packages="iproute2 postfix dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd"
filter_packages="nftables ipset iptables"
policy_packages="python3-yaml libnet-server-perl libnet-dns-perl" # what the servers themselves need
guest_packages="qemu-system-x86 busybox-static cpio xz-utils kmod"
vm_packages="debootstrap e2fsprogs"
test_packages="$demo_packages clang llvm libbpf-dev swaks libio-socket-inet6-perl systemd systemd-journal-remote rbldnsd e2fsprogs mount"

# installed PACKAGE: dpkg says that it is there and configured.
installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# install PACKAGE...: installs those that are missing. A policy-rc.d that
# refuses (exit 101, see invoke-rc.d(8)) holds services back meanwhile; mail
# servers that came new stay disabled, so that the next boot starts none.
install() {
	local missing=() p
	for p in "$@"; do installed "$p" || missing+=("$p"); done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing: ${missing[*]}. Install them, or run as root"
	command -v apt-get >/dev/null || die "these packages are missing: ${missing[*]}, and this is not Debian"
	say "installing ${missing[*]} (services are held back)"

	hold_services
	export DEBIAN_FRONTEND=noninteractive
	local log
	log=$(mktemp)
	if ! { apt-get -q update && preseed &&
		apt-get -q -y --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
		tail -n 30 "$log" >&2
		die "apt-get could not install ${missing[*]}; its whole output is in $log"
	fi
	rm -f "$log"
	let_services_go
	for p in "${missing[@]}"; do
		case $p in
		postfix) disable postfix.service ;;
		dovecot-core) disable dovecot.service dovecot.socket ;;
		rbldnsd) disable rbldnsd.service rbldnsd.socket ;;
		esac
	done
}

# preseed: postfix asks what kind of site this is; the lab brings its own
# configuration, so none is to be made.
preseed() {
	if installed postfix || ! command -v debconf-set-selections >/dev/null; then return 0; fi
	echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
}

disable() {
	command -v systemctl >/dev/null || return 0
	systemctl --no-reload disable "$@" >/dev/null 2>&1 || true
}

policy=/usr/sbin/policy-rc.d
kept=

hold_services() {
	trap let_services_go EXIT
	if [ -e $policy ] || [ -L $policy ]; then
		kept=$policy.weir-$$
		mv $policy "$kept"
	fi
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
}

let_services_go() {
	trap - EXIT
	rm -f $policy
	[ -z "$kept" ] || mv "$kept" $policy
	kept=
}

wanted=$(sed -n 's/^go //p' go.mod)

# good_enough GO: it runs, and its version is at least the one in go.mod.
good_enough() {
	local have
	have=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	have=${have#go}
	[ "$(printf '%s\n%s\n' "$wanted" "${have%% *}" | sort -V | head -n 1)" = "$wanted" ]
}

# find_go prints a Go that is good enough, or fails.
find_go() {
	local go
	for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
		if [ -n "$go" ] && [ -x "$go" ] && good_enough "$go"; then echo "$go"; return; fi
	done
	return 1
}

# fetch_go prints a Go of the wanted version that came as a Go module
# (golang.org/toolchain, https://go.dev/ref/mod#toolchains). A Go older than
# 1.21 fetches it like any module, which leaves out the execute bits and the
# go.mod files that newer ones put right after the download.
fetch_go() {
	local old arch version dir
	old=$(command -v go || true)
	[ -n "$old" ] || old=/usr/lib/go/bin/go
	if ! [ -x "$old" ]; then
		install golang-go ca-certificates
		old=$(command -v go) || die "golang-go is installed, but there is no go on PATH"
	fi
	case $(uname -m) in
	x86_64) arch=amd64 ;;
	aarch64) arch=arm64 ;;
	*) arch=$(cd / && "$old" env GOARCH) ;;
	esac
	version=v0.0.1-go$wanted.linux-$arch
	dir=$(cd / && "$old" env GOMODCACHE)/golang.org/toolchain@$version
	if ! [ -x "$dir/bin/go" ]; then
		say "fetching Go $wanted as a module (this machine's is $(cd / && GOTOOLCHAIN=local "$old" env GOVERSION))"
		(cd / && GO111MODULE=on GOTOOLCHAIN=local "$old" mod download "golang.org/toolchain@$version") >&2 ||
			die "cannot fetch Go $wanted. Install it by hand so that \`go version\` shows it, and run again"
		chmod u+w "$dir/src" "$dir/src/cmd"
		cp "$dir/src/_go.mod" "$dir/src/go.mod"
		cp "$dir/src/cmd/_go.mod" "$dir/src/cmd/go.mod"
		find "$dir/pkg/tool" -type f -exec chmod a+x {} +
		chmod a+x "$dir"/bin/*
	fi
	good_enough "$dir/bin/go" || die "the Go in $dir does not run"
	echo "$dir/bin/go"
}

# unpack PACKAGE...: puts Debian packages into a folder of their own instead of
# installing them: they would guard this machine, and one would enrol it with
# its maker.
unpack() {
	local dir=${XDG_CACHE_HOME:-$HOME/.cache}/weir-bench/debian p
	mkdir -p "$dir"
	for p in "$@"; do
		[ ! -e "$dir/.$p" ] || continue
		say "fetching $p"
		(
			cd "$dir"
			apt-get -q download "$p" >/dev/null 2>&1 ||
				{ apt-get -q update && apt-get -q download "$p"; } >/dev/null 2>&1 || exit 1
			dpkg -x "$p"_*.deb .
			ls "$p"_*.deb | cut -d _ -f 2 >".$p"
			rm "$p"_*.deb
		) || say "cannot fetch $p: its row will say that it is missing"
	done
	echo "$dir"
}

# mirror prints where this machine gets Debian from (sources.list(5)).
mirror() {
	local uri
	uri=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' | grep -m 1 'debian/*$' || true)
	[ -n "$uri" ] || die "no Debian mirror in /etc/apt/sources.list or sources.list.d"
	echo "$uri"
}

# fetch_kernel KIND PACKAGE [APT OPTION]...: unpacks the kernel that a package
# of Debian stands for into a folder named as its release, without installing
# it, and links it as KIND.
fetch_kernel() {
	local kind=$1 meta=$2 package release
	shift 2
	resolve() { apt-cache "$@" depends "$meta" 2>/dev/null | sed -n '/^ *Depends: /{s///p;q}' || true; }
	package=$(resolve "$@")
	if [ -z "$package" ] || ! [ -e "${package#linux-image-}" ]; then
		apt-get -q "$@" update >/dev/null 2>&1 || true
		package=$(resolve "$@")
	fi
	release=${package#linux-image-}
	case $release in
	"$kind".*) ;;
	*)
		[ -e "$kind" ] || say "apt knows no $meta of Linux $kind: nothing can be tested on that"
		return 0
		;;
	esac
	if ! [ -e "$release" ]; then
		say "fetching $package"
		rm -rf fetched
		mkdir fetched
		(cd fetched && apt-get -qq -o APT::Sandbox::User=root "$@" download "$package" && dpkg -x ./*.deb . && rm ./*.deb && depmod -b . "$release") >&2 ||
			die "cannot fetch $package"
		mv fetched "$release"
	fi
	ln -sfn "$release" "$kind"
}

# fetch_kernels: one that weir must refuse, those of Debian 12, the newer of
# which is Debian 13's.
fetch_kernels() {
	local dir=${XDG_CACHE_HOME:-$HOME/.cache}/weir-kernels
	mkdir -p "$dir/debian11/lists/partial" "$dir/debian11/archives/partial"
	cd "$dir"
	fetch_kernel 6.1 linux-image-cloud-amd64
	fetch_kernel 6.12 linux-image-6.12-cloud-amd64
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) bullseye main" >debian11/sources.list
	fetch_kernel 5.10 linux-image-cloud-amd64 -o Dir::Etc::SourceList="$dir/debian11/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$dir/debian11/lists" -o Dir::Cache="$dir/debian11"
	echo "$dir"
}

# dovecot24 prints a folder with Dovecot 2.4 of Debian 13 and every library that
# it needs, to be run in by chroot. apt works with a state of its own, so that
# this machine's knows nothing of Debian 13.
dovecot24() {
	local dir=${XDG_CACHE_HOME:-$HOME/.cache}/weir-test/dovecot24 apt p
	if [ -e "$dir/.done" ]; then echo "$dir"; return; fi
	command -v apt-get >/dev/null || die "Dovecot 2.4 is fetched with apt-get, and this is not Debian"
	say "fetching Dovecot 2.4 of Debian 13"
	apt=$(mktemp -d)
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	cat >"$apt/debian.sources" <<-END
		Types: deb
		URIs: $(mirror)
		Suites: trixie
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	cat >"$apt/apt.conf" <<-END
		Dir::State "$apt";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/debian.sources";
		Dir::Etc::sourceparts "/nonexistent";
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
	END
	(
		export APT_CONFIG=$apt/apt.conf
		apt-get -q update && apt-get -q -y --download-only install dovecot-core dovecot-imapd
	) >"$apt/log" 2>&1 </dev/null || { tail -n 20 "$apt/log" >&2; die "Dovecot 2.4 cannot be fetched; all output is in $apt/log"; }
	rm -rf "$dir"
	mkdir -p "$dir"/{dev,mnt,proc,tmp,run,etc,usr/{bin,sbin,lib,lib64}}
	for p in bin sbin lib lib64; do ln -s usr/$p "$dir/$p"; done
	for p in "$apt"/cache/archives/*.deb; do dpkg --fsys-tarfile "$p" | tar -x -C "$dir" --keep-directory-symlink; done
	getent passwd root mail nobody >"$dir/etc/passwd"
	printf 'dovecot:x:997:997::/:/bin/false\ndovenull:x:998:998::/:/bin/false\n' >>"$dir/etc/passwd"
	getent group root mail nogroup >"$dir/etc/group"
	printf 'dovecot:x:997:\ndovenull:x:998:\n' >>"$dir/etc/group"
	rm -rf "$apt"
	touch "$dir/.done"
	echo "$dir"
}

# vm prints the image of a root file system. Postfix and Dovecot are as Debian
# configures them; rsyslog writes their log; rpm is for the other package. It is
# made again when this list of packages changes.
vm() {
	local dir=${XDG_CACHE_HOME:-$HOME/.cache}/weir-vm packages image log
	packages=systemd,systemd-sysv,dbus,udev,libpam-systemd,kmod,procps,iproute2,rsyslog,logrotate,postfix,dovecot-imapd,openssl,rbldnsd,rpm
	image=$dir/debian12-$(echo "$packages" | cksum | cut -d ' ' -f 1).ext4
	if [ -e "$image" ]; then echo "$image"; return; fi
	[ "$(id -u)" = 0 ] || die "a root file system is made as root"
	say "making a Debian 12 with systemd"
	rm -rf --one-file-system "$dir" # a debootstrap that was killed leaves its /proc mounted
	mkdir -p "$dir"
	log=$(mktemp)
	if ! { debootstrap --variant=minbase --include="$packages" bookworm "$dir/root" "$(mirror)" &&
		chroot "$dir/root" apt-get clean && rm -rf "$dir"/root/var/lib/apt/lists/* &&
		echo guest >"$dir/root/etc/hostname" && : >"$dir/root/etc/machine-id" &&
		truncate -s 1500M "$image.new" && mkfs.ext4 -q -d "$dir/root" "$image.new" &&
		mv "$image.new" "$image"; } >"$log" 2>&1 </dev/null; then
		tail -n 30 "$log" >&2
		die "the Debian cannot be made; all output is in $log"
	fi
	rm -rf "$dir/root" "$log"
	echo "$image"
}

case ${1:-} in
go) find_go || fetch_go ;;
demo) install $demo_packages ;;
test)
	install $test_packages
	# Exim cannot be installed beside Postfix.
	unpack exim4-daemon-light exim4-base libidn12 >/dev/null
	dovecot24 >/dev/null
	;;
dovecot24) dovecot24 ;;
bench)
	case ${2:-} in
	datapath)
		(install $filter_packages) || say "their rows will say that they are missing"
		unpack libxdp1
		;;
	policy)
		install $demo_packages
		(install $policy_packages) || say "their rows will say that they are missing"
		unpack policyd-rate-limit postfwd
		;;
	*)
		install python3
		unpack sshguard fail2ban crowdsec
		;;
	esac
	;;
kernels)
	install $guest_packages
	fetch_kernels
	;;
vm)
	install $guest_packages $vm_packages
	vm
	;;
package) install lintian rpm ;;
*) die "usage: tests/setup.sh go|demo|test|dovecot24|bench [datapath|policy]|kernels|vm|package" ;;
esac
