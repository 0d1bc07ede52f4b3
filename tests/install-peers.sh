#!/bin/sh
# Install the real peers the tests talk to (Orthanc, DCMTK, dciodvfy, dcm2niix, PostgreSQL, Redis, Chromium, systemd-analyze) where this is a Debian system
# and we may. Elsewhere the tests that need them skip and say so.
set -eu
missing=""
for pair in Orthanc:orthanc storescu:dcmtk dciodvfy:dicom3tools dcm2niix:dcm2niix chromium:chromium systemd-analyze:systemd redis-server:redis-server pdftotext:poppler-utils npm:npm; do
    program=${pair%%:*}
    PATH=/usr/sbin:/usr/bin command -v "$program" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
if [ -n "$missing" ]; then
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
fi
# OHIF's published build, for the test that looks at our results in a browser: some 48 MB, kept outside the repository.
ohif=3.12.10
cache=${BTN_OHIF:-$HOME/.cache/brain-tumor-node/ohif-$ohif}
if [ ! -e "$cache/package/dist/index.html" ] && command -v npm >/dev/null 2>&1; then
    mkdir -p "$cache"
    if (cd "$cache" && npm pack --silent "@ohif/app@$ohif" >/dev/null && tar xzf ohif-app-*.tgz && rm ohif-app-*.tgz); then :; else
        echo "OHIF's build could not be fetched: the test that shows results in it will skip" >&2
    fi
fi
# axe-core, for the test that looks for barriers on every page: one file.
axe=4.14.1
cache=${BTN_AXE:-$HOME/.cache/brain-tumor-node/axe-core-$axe}
if [ ! -e "$cache/package/axe.min.js" ] && command -v npm >/dev/null 2>&1; then
    mkdir -p "$cache"
    if (cd "$cache" && npm pack --silent "axe-core@$axe" >/dev/null && tar xzf axe-core-*.tgz && rm axe-core-*.tgz); then :; else
        echo "axe-core could not be fetched: the test that looks for barriers will skip" >&2
    fi
fi
