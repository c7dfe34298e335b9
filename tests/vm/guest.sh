#!/bin/bash
# Runs in the guest after each boot: the tests of this boot, then the next one.
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw
cd "${0%/*}"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true WEIR_GUEST=1 WEIR_RUN=$PWD
boot=$(cat /var/tmp/boot 2>/dev/null || echo 1)
echo $((boot + 1)) >/var/tmp/boot
echo "guest: begin boot $boot"
./inside.test -test.v=test2json -test.timeout=20m -test.run="^TestBoot$boot\$"
status=$?
echo "guest: end boot $boot $status"
if [ $status = 0 ] && [ "$boot" -lt 4 ]; then exec systemctl reboot; fi
echo "guest: done"
systemctl poweroff
