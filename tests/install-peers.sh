#!/bin/sh
# Install the real peers the tests talk to (Orthanc, DCMTK, dciodvfy, dcm2niix, PostgreSQL, Chromium, systemd-analyze) where this is a Debian system
# and we may. Elsewhere the tests that need them skip and say so.
set -eu
missing=""
for pair in Orthanc:orthanc storescu:dcmtk dciodvfy:dicom3tools dcm2niix:dcm2niix chromium:chromium systemd-analyze:systemd pdftotext:poppler-utils npm:npm; do
    program=${pair%%:*}
    PATH=/usr/sbin:/usr/bin command -v "$program" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    # The services must not start: the tests run their own on loopback.
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.btn && chmod +x /usr/sbin/policy-rc.d.btn
    [ -e /usr/sbin/policy-rc.d ] || { mv /usr/sbin/policy-rc.d.btn /usr/sbin/policy-rc.d; made=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    rm -f /usr/sbin/policy-rc.d.btn
    [ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d
else
    echo "tests that need these Debian packages will skip:$missing" >&2
fi
