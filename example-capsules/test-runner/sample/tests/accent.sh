sh expect.sh 'Café' 'cafe'
