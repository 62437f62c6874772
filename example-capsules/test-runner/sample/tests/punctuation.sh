sh expect.sh 'Salt, pepper & oil!' 'salt-pepper-oil'
