sh expect.sh '' ''
