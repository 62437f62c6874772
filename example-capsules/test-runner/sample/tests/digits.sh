sh expect.sh 'Route 66' 'route-66'
