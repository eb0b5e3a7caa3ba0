#!/bin/sh
# Posts every line of an NDJSON file as the API reference's curl example does.
# Usage: curl_client.sh URL KEY FILE; prints each answer's body on a line.
while IFS= read -r line; do
    curl --silent --show-error -X POST "$1" \
        -H "Content-Type: application/json" \
        -H "X-API-Key: $2" \
        -d "$line"
    echo
done < "$3"
