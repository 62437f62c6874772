sh expect.sh 'a--b' 'a-b'
