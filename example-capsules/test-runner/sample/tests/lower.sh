sh expect.sh 'Hello' 'hello'
