sh expect.sh '  x  ' 'x'
