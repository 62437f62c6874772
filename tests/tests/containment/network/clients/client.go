// Names and ports by Go's net/http and net.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

func fails(address string, is func(error) bool) {
	begun := time.Now()
	connection, err := net.Dial("tcp", address)
	if err == nil {
		connection.Close()
		fmt.Println("connected")
		return
	}
	fmt.Println(is(err), time.Since(begun) < time.Second)
}

func main() {
	answer, err := http.Get("http://one.example/word")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(answer.Body)
	fmt.Println(strings.TrimSpace(string(body)), err)
	fails("other.example:80", func(err error) bool {
		var name *net.DNSError
		return errors.As(err, &name) && name.IsNotFound
	})
	fails("one.example:81", func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) })
	interfaces, err := net.Interfaces()
	for _, one := range interfaces {
		addresses, err := one.Addrs()
		fmt.Println(one.Name, len(addresses) > 0, err)
	}
	fmt.Println(err)
}
