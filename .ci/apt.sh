# apt.sh: read by other scripts here, after /etc/os-release.

# own_apt DIR KIND COMMAND...: apt-get with its mirrors and proxies but with lists
# of our own under DIR, of sources (deb-src) or of the packages of an architecture
# (amd64, arm64), so that the machine's stay as they are and what is
# installed does not choose the version.
own_apt() {
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
	case $ID in
	debian) mirror=http://deb.debian.org/debian keyring=debian-archive-keyring.gpg component=main ;;
	ubuntu) mirror=http://archive.ubuntu.com/ubuntu keyring=ubuntu-archive-keyring.gpg component=universe ;;
	esac
	kind=deb-src options='' arch=$(dpkg --print-architecture)
	if [ "$2" != deb-src ]; then
		kind=deb arch=$2 options="arch=$2 " component=main
		[ "$ID-$2" != ubuntu-arm64 ] || mirror=http://ports.ubuntu.com/ubuntu-ports
	fi
	echo "$kind [${options}signed-by=/usr/share/keyrings/$keyring] ${DEPS_MIRROR:-$mirror} $VERSION_CODENAME $component" >"$1/sources.list"
	dir=$1
	shift 2
	set -- -qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o Acquire::Languages=none \
		-o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o Dir::State::status=/dev/null -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=2 "$@"
	(cd "$dir" && apt-get "$@" >>apt.log 2>&1) || { sed 's/^/    /' "$dir/apt.log" >&2; return 1; }
}
