sh expect.sh 'snake_case' 'snake-case'
