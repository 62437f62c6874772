sh expect.sh 'a/b.txt' 'a-b-txt'
