# expect.sh TITLE SLUG
# So that the tests overlap, as longer ones would.
sleep 0.3
got=$(sh slugify.sh "$1")
[ "$got" = "$2" ] || { echo "expected \`$2\`, got \`$got\`"; exit 1; }
