#!/bin/sh
# Makes a throw-away PKI in the image of a campus's: a root, two issuing authorities, servers, people, a rogue.
# Usage: make.sh [OUTPUT-DIRECTORY]    (default: the directory of this script; existing files are overwritten)
# Nothing here is secret and nothing here may be trusted: the keys are public.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077

# Twenty years for what shall work, 2001 to 2002 for what shall have expired.
valid_from=20260101000000Z
valid_to=20460101000000Z

cat > ca.cnf <<'CONFIG'
[req]
distinguished_name = dn
prompt = no
[dn]
[ca]
default_ca = any
[any]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = anything
unique_subject = no
email_in_dn = yes
preserve = yes
[anything]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONFIG
: > index.txt

# key NAME
key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

# sign NAME SUBJECT ISSUER SECTION FROM TO    (ISSUER - is the certificate itself)
sign() {
    openssl req -new -utf8 -config ca.cnf -key "$1.key" -subj "$2" -out "$1.csr"
    if [ "$3" = - ]; then
        set -- "$1" "$2" "$3" "$4" "$5" "$6" -selfsign -keyfile "$1.key"
    else
        set -- "$1" "$2" "$3" "$4" "$5" "$6" -cert "$3.crt" -keyfile "$3.key"
    fi
    name=$1 section=$4 from=$5 to=$6
    shift 6
    openssl ca -batch -notext -config ca.cnf -extensions "$section" -in "$name.csr" -out "$name.crt" \
        -startdate "$from" -enddate "$to" "$@" 2> "$name.log" || { cat "$name.log" >&2; exit 1; }
}

# leaf NAME SUBJECT ISSUER USAGE SAN [FROM TO]
leaf() {
    {
        printf '[leaf_%s]\nbasicConstraints = CA:FALSE\nkeyUsage = critical, digitalSignature\n' "$1"
        printf 'extendedKeyUsage = %s\nsubjectAltName = %s\n' "$4" "$5"
        printf 'subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n'
    } >> ca.cnf
    key "$1"
    sign "$1" "$2" "$3" "leaf_$1" "${6:-$valid_from}" "${7:-$valid_to}"
}

key CNRS2
sign CNRS2 "/C=FR/O=CNRS/CN=CNRS2" - root "$valid_from" "$valid_to"
for authority in CNRS-Standard CNRS-Plus; do
    key "$authority"
    sign "$authority" "/C=FR/O=CNRS/CN=$authority" CNRS2 issuing "$valid_from" "$valid_to"
done
key Rogue
sign Rogue "/C=FR/O=Rogue/CN=Rogue CA" - root "$valid_from" "$valid_to"

local_names="DNS:localhost, IP:127.0.0.1, IP:::1"
leaf server "/C=FR/O=CNRS/CN=relay.example.org" CNRS2 serverAuth "DNS:relay.example.org, $local_names"
leaf nexthop "/C=FR/O=CNRS/CN=localhost" CNRS2 serverAuth "$local_names"
leaf relay-client "/C=FR/O=CNRS/CN=relay-client" CNRS2 clientAuth "DNS:relay.example.org"
leaf alice "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin" CNRS-Standard "clientAuth, emailProtection" "email:alice@example.org"
leaf bob "/C=FR/O=CNRS/OU=UMR7638/CN=Bob Durand" CNRS-Plus "clientAuth, emailProtection" "email:bob@example.org"
leaf carol "/C=FR/O=CNRS/OU=UMR5168/CN=Carol Petit" CNRS-Plus "clientAuth, emailProtection" "email:carol@example.org"
leaf rogue "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin" Rogue "clientAuth, emailProtection" "email:alice@example.org"
leaf expired "/C=FR/O=CNRS/OU=UMR5168/CN=Edith Ancien" CNRS-Standard "clientAuth, emailProtection" \
    "email:edith@example.org" 20010101000000Z 20020101000000Z

# The bundle as smtpd_tls_CAfile wants it: root and issuing authorities, one after the other.
cat CNRS2.crt CNRS-Standard.crt CNRS-Plus.crt > "$out/CAcert.pem"
cp CNRS2.crt CNRS-Standard.crt CNRS-Plus.crt Rogue.crt "$out"
for server in server nexthop; do
    cp "$server.crt" "$server.key" "$out"
done
# One file for both, as Sendmail's users have it: key, then certificate.
cat server.key server.crt > "$out/sendmail.pem"
for person in alice bob carol rogue expired relay-client; do
    cp "$person.crt" "$out/$person.pem"
    cp "$person.key" "$out"
done
chmod 644 "$out"/*.crt "$out"/*.pem
chmod 600 "$out"/*.key "$out/sendmail.pem"
