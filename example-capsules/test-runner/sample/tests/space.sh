sh expect.sh 'Hello World' 'hello-world'
