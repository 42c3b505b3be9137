#!/usr/bin/env bash
# Writes into deploy/images.env the digest that the registry has for each image's tag. Needs docker with buildx.
set -euo pipefail
cd "$(dirname "$0")/.."

file=deploy/images.env
while IFS='=' read -r name image; do
    case $name in '' | '#'*) continue ;; esac
    tag=${image%%@*}
    digest=$(docker buildx imagetools inspect "$tag" --format '{{.Manifest.Digest}}')
    [[ $digest == sha256:* ]] || { echo "digests: no digest for $tag" >&2; exit 1; }
    sed -i "s|^$name=.*|$name=$tag@$digest|" "$file"
    echo "$name=$tag@$digest"
done <"$file"
