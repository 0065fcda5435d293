#!/bin/sh
# Makes the certificates of the TLS tests anew, beside this script: ./make.sh (needs openssl).
# cert.pem and key.pem are a certificate of its own, for localhost; the others are signed by ca.pem, but for stranger.pem.
set -eu
cd "$(dirname "$0")"
days=36500

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }

authority() { # name, common name
    key "$1"
    openssl req -x509 -new -key "$1.key" -days $days -subj "/CN=$2" -out "$1.pem" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
}

signed() { # name, authority, extended use, alternative names, end of validity
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$3" "$4" > "$1.ext"
    : > index
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' > ca.conf
    openssl ca -batch -notext -config ca.conf -in "$1.csr" -cert "$2.pem" -keyfile "$2.key" -extfile "$1.ext" \
        -startdate 20200101000000Z -enddate "$5" -out "$1.pem"
    rm "$1.csr" "$1.ext"
}

authority ca "Headworks tests"
authority strangers "Somebody else"
signed server ca serverAuth DNS:localhost,IP:127.0.0.1 21200101000000Z
signed renewed ca serverAuth DNS:localhost,IP:127.0.0.1 21200101000000Z
signed expired ca serverAuth DNS:localhost,IP:127.0.0.1 20210101000000Z
signed named ca serverAuth DNS:replica.example 21200101000000Z
signed client ca clientAuth DNS:proxy.example 21200101000000Z
signed stranger strangers clientAuth DNS:stranger.example 21200101000000Z
# Nobody needs to sign with them again.
rm -f ca.key strangers.key ca.conf index* [0-9A-F]*.pem
