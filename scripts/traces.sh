# Used by ./test: what servers and sandboxes have on this machine. Sourced, not run.

SETTLE=40  # looks, half a second apart, at what the kernel is still taking down

# One line for each process, mount, device, group, link, table and folder that a server or its tests make.
traces() {
  {
    pgrep -af '^(\S*/)?(runsc|postgres )|moonpool serve|tests\.zygote|guest/agent' | sed -E 's/^([0-9]+) (.{0,100}).*/process \1 \2/'
    awk '{ print "mount " $5 }' /proc/self/mountinfo
    losetup --noheadings --list --output NAME,BACK-FILE | sed 's/^/loop device /'
    find /sys/fs/cgroup -maxdepth 3 -type d -name 'moonpool-*' | sed 's/^/control group /'
    ip -o link show | grep -oE ' mp[0-9a-f]{7,}' | sed 's/^/link/'
    nft list tables | grep -E 'moonpool_' | sed 's/^/nftables /'
    find /var/tmp /tmp -maxdepth 1 -name 'moonpool*' | sed 's/^/folder /'
  } 2>/dev/null | sort -u || true
}

# new_traces BEFORE: what is there now and was not; empty when all is well.
new_traces() {
  comm -13 <(printf '%s\n' "$1") <(traces)
}

# nothing_left BEFORE: ends with 1 and a list when something is left.
nothing_left() {
  local left look
  for ((look = 0; look < SETTLE; look++)); do
    left=$(new_traces "$1")
    [ -z "$left" ] && return
    sleep 0.5
  done
  printf 'left behind:\n%s\n' "$left" >&2
  return 1
}
