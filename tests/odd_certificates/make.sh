#!/bin/sh
# Makes what rcgen cannot: old algorithms and keys, T61 strings, several attributes in one RDN, one attribute type twice.
# Usage: make.sh DIRECTORY, which holds sub.pem, sub.key and person.key.
set -eu
cd "$1"
umask 077
exec 3>&2 2>make.log
trap 'status=$?; [ $status = 0 ] || cat make.log >&3' EXIT

# leaf NAME SUBJECT [KEY [DIGEST [STRING-MASK]]]
leaf() {
    cat > leaf.cnf <<CONFIG
[req]
distinguished_name = dn
prompt = no
string_mask = ${5:-utf8only}
[dn]
[leaf]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
CONFIG
    openssl req -new -utf8 -config leaf.cnf -key "${3:-person}.key" -subj "$2" -multivalue-rdn -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA sub.pem -CAkey sub.key -set_serial "$serial" -days 3650 "-${4:-sha256}" \
        -extfile leaf.cnf -extensions leaf -out "$1.pem"
    serial=$((serial + 1))
}
serial=1000
openssl genrsa -out rsa1024.key 1024
openssl genrsa -out rsa4096.key 4096

leaf rsa-1024 "/C=FR/O=CNRS/OU=UMR5168/CN=Small Key" rsa1024
leaf rsa-4096 "/C=FR/O=CNRS/OU=UMR5168/CN=Large Key" rsa4096
leaf sha-1 "/C=FR/O=CNRS/OU=UMR5168/CN=Old Digest" person sha1
leaf name-t61 "/C=FR/O=CNRS/OU=UMR5168/CN=Élodie Noël" person sha256 MASK:0x4
leaf name-two-units "/C=FR/O=CNRS/OU=UMR9999/OU=UMR5168/CN=Two Units"
leaf name-two-common-names "/C=FR/O=CNRS/OU=UMR9999/CN=bob/CN=OU=UMR5168"
leaf rdn-unit-and-uid "/C=FR/O=CNRS/OU=UMR5168+UID=alice/CN=Alice Martin"
leaf rdn-name-and-unit "/C=FR/O=CNRS/CN=x+OU=UMR5168"
leaf rdn-name-and-other-unit "/C=FR/O=CNRS/CN=OU=UMR5168+OU=UMR9999"
