#!/bin/sh
# Makes the odd and the broken certificates that tests/certificates.rs judges. Usage: make.sh OUTPUT-DIRECTORY
set -eu
cd "$1"
umask 077
exec 3>&2 2>make.log
trap 'status=$?; [ $status = 0 ] || cat make.log >&3' EXIT

cat > base.cnf <<'CONFIG'
[req]
distinguished_name = dn
prompt = no
string_mask = STRING_MASK
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
preserve = yes
[anything]
countryName = optional
organizationName = optional
commonName = supplied
[root]
basicConstraints = critical, CA:TRUE
[sub]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[sub0]
basicConstraints = critical, CA:TRUE, pathlen:0
[constrained]
basicConstraints = critical, CA:TRUE
nameConstraints = critical, permitted;DNS:example.org
[leaf]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:mx.example.org
[server_only]
extendedKeyUsage = serverAuth
[any_usage]
extendedKeyUsage = anyExtendedKeyUsage
[no_usage]
basicConstraints = CA:FALSE
[critical]
1.2.3.4.5 = critical, DER:0500
[two_extensions]
1.2.3.4.5 = DER:0500
1.2.3.4.6 = DER:0500
[outside]
subjectAltName = DNS:host.example.net
extendedKeyUsage = clientAuth
[full]
subjectAltName = email:alice@example.org, DNS:alice.example.org, otherName:1.3.6.1.4.1.311.20.2.3;UTF8:alice@ad.example.org
extendedKeyUsage = clientAuth, emailProtection, 1.3.6.1.4.1.311.20.2.2
certificatePolicies = 1.2.250.1.1, 1.2.250.1.2
CONFIG
sed 's/STRING_MASK/utf8only/' base.cnf > any.cnf
: > index.txt

ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
# root NAME SUBJECT [DIGEST]
root() { openssl req -x509 -config any.cnf -extensions root -key "$1.key" -subj "$2" -days 3650 "-${3:-sha256}" -out "$1.pem"; }
# issue NAME SUBJECT ISSUER SECTION [KEY [DIGEST [STRING-MASK]]]
issue() {
    sed "s/STRING_MASK/${7:-utf8only}/" base.cnf > mask.cnf
    openssl req -new -utf8 -config mask.cnf -key "${5:-person}.key" -subj "$2" -multivalue-rdn -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 3650 "-${6:-sha256}" \
        -extfile any.cnf -extensions "$4" -out "$1.pem"
}
# dated NAME SUBJECT ISSUER SECTION FROM TO [KEY]
dated() {
    openssl req -new -utf8 -config any.cnf -key "${7:-person}.key" -subj "$2" -out "$1.csr"
    openssl ca -batch -notext -config any.cnf -extensions "$4" -in "$1.csr" -out "$1.pem" \
        -cert "$3.pem" -keyfile "$3.key" -startdate "$5" -enddate "$6"
}
past="20010101000000Z 20020101000000Z"
future="20480101000000Z 20490101000000Z"

for key in person root stranger forger sub old-sub sub0 deep-sub constrained-sub old-root root0 root0-sub; do ec "$key"; done
openssl genrsa -out small.key 1024
openssl genrsa -out small-root.key 1024
openssl genrsa -out rsa.key 2048
openssl genrsa -out rsa-root.key 2048

root root "/C=FR/O=CNRS/CN=Root"
root stranger "/C=FR/O=Stranger/CN=Stranger"
root forger "/C=FR/O=CNRS/CN=Root"
root small-root "/C=FR/O=CNRS/CN=Small Root"
root rsa-root "/C=FR/O=CNRS/CN=RSA Root" md5
openssl req -new -config any.cnf -key old-root.key -subj "/C=FR/O=CNRS/CN=Old Root" -out old-root.csr
openssl ca -batch -notext -config any.cnf -extensions root -in old-root.csr -out old-root.pem -selfsign \
    -keyfile old-root.key -startdate 20010101000000Z -enddate 20020101000000Z
openssl req -x509 -config any.cnf -extensions sub0 -key root0.key -subj "/CN=Root 0" -days 3650 -out root0.pem
issue root0-sub "/CN=Root 0 Sub" root0 sub root0-sub
issue sub "/C=FR/O=CNRS/CN=Sub" root sub sub
dated old-sub "/C=FR/O=CNRS/CN=Old Sub" root sub $past old-sub
issue sub0 "/C=FR/O=CNRS/CN=Sub 0" root sub0 sub0
issue deep-sub "/C=FR/O=CNRS/CN=Deep Sub" sub0 sub deep-sub
issue constrained-sub "/C=FR/O=CNRS/CN=Constrained Sub" root constrained constrained-sub
cat root.pem small-root.pem rsa-root.pem sub.pem old-sub.pem sub0.pem deep-sub.pem constrained-sub.pem \
    root0.pem root0-sub.pem > ca.pem

issue ok "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin" sub leaf
issue direct "/C=FR/O=CNRS/CN=direct" root leaf
issue rsa "/C=FR/O=CNRS/CN=rsa" sub leaf rsa
issue any-usage "/CN=any usage" sub any_usage
issue no-usage "/CN=no usage" sub no_usage
issue full "/C=FR/O=CNRS/CN=full" sub full
issue two-extensions "/CN=two extensions" sub two_extensions
issue server-only "/CN=server only" sub server_only
issue critical "/CN=critical" sub critical
issue sha1 "/CN=sha1" rsa-root leaf person sha1
issue md5 "/CN=md5" rsa-root leaf person md5
issue small-key "/CN=small key" sub leaf small
issue under-small "/CN=under small" small-root leaf
openssl req -new -config any.cnf -key person.key -subj "/C=FR/O=CNRS/CN=version one" -out version-one.csr
openssl x509 -req -in version-one.csr -CA sub.pem -CAkey sub.key -CAcreateserial -days 3650 -out version-one.pem
issue ca-as-leaf "/CN=ca as leaf" root root
issue unknown "/CN=unknown" stranger leaf
issue forged "/CN=forged" forger leaf
issue too-deep "/CN=too deep" deep-sub leaf
issue under-old-sub "/CN=under old sub" old-sub leaf
issue under-root0 "/CN=under root 0" root0 leaf
issue too-deep-root0 "/CN=too deep under root 0" root0-sub leaf
issue under-old-root "/CN=under old root" old-root leaf
issue outside "/CN=outside" constrained-sub outside
cp person.key ok.key
issue under-leaf "/CN=under leaf" ok leaf
dated expired "/CN=expired" sub leaf $past
dated not-yet "/CN=not yet" sub leaf $future
dated unknown-expired "/CN=unknown expired" stranger leaf $past
openssl req -x509 -config any.cnf -extensions leaf -key person.key -subj "/CN=self" -days 3650 -out self-signed.pem
openssl req -x509 -config any.cnf -extensions server -key person.key -subj "/CN=mx.example.org" -days 3650 -out self-server.pem

names='/C=FR/O=École, Supérieure \+ "x"/OU= lead/CN=#hash <é>;'
issue name-t61 "$names" sub leaf person sha256 MASK:0x4
issue name-bmp "$names" sub leaf person sha256 MASK:0x800
issue name-universal "$names" sub leaf person sha256 MASK:0x100
issue name-utf8 "$names" sub leaf
issue name-multi '/DC=fr/DC=cnrs/OU=people+UID=jdupont/CN=Jean+serialNumber=42' sub leaf
issue name-slash '/C=FR/O=CNRS/CN=bob\/OU=UMR5168' sub leaf
