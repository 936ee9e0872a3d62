#!/bin/sh
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tutorial_pki.sh DIRECTORY CLIENTS: the certificates of the tutorial, by its own steps (4 to 7 and 9 to 11), with as
# many clients as asked for. What the benchmark compares with; not what anyone should use: see docs/performance.md.
set -eu
cd "$1"

ca() { # ORGANIZATION COMMON_NAME
    openssl req -x509 -sha256 -nodes -days 365 -newkey rsa:2048 -subj "/O=$1/CN=$2" -keyout "$2.key" -out "$2.crt"
}

leaf() { # ORGANIZATION COMMON_NAME CA
    openssl req -out "$2.csr" -newkey rsa:2048 -nodes -keyout "$2.key" -subj "/CN=$2/O=$1"
    openssl x509 -req -days 365 -CA "$3.crt" -CAkey "$3.key" -set_serial 0 -in "$2.csr" -out "$2.crt"
}

ca 'ML Server Org' 'ML Server Root CA'
leaf 'ML Server Org' '*.mtls.local.kyma.dev' 'ML Server Root CA'
cat '*.mtls.local.kyma.dev.crt' 'ML Server Root CA.crt' >'*.mtls.local.kyma.dev-chain.pem'
ca 'ML Client Org' 'ML Client Root CA'
leaf 'ML Client Org' 'ML Client Curl' 'ML Client Root CA'
number=1
while [ "$number" -lt "$2" ]; do
    leaf 'ML Client Org' "Client $number" 'ML Client Root CA'
    number=$((number + 1))
done
