# Compares the output for every tests/cases/*.in with the .out beside it.
passed=0
failed=0
for input in tests/cases/*.in; do
    name=$(basename "$input" .in)
    expected=$(cat "tests/cases/$name.out")
    got=$(./wordcount "$input")
    if [ "$got" = "$expected" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $name: expected '$expected', got '$got'"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
