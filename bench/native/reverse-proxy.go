// Go's own reverse proxy, set up as one would for this purpose: connections kept, events flushed.
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

func main() {
	listen := flag.String("listen", "", "host:port")
	target := flag.String("target", "", "http://host:port or https://host:port")
	cert := flag.String("cert", "", "PEM file; none: plain HTTP")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	upstream, err := url.Parse(*target)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{
		MaxIdleConns:        10_000,
		MaxIdleConnsPerHost: 10_000,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true,
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		},
	}
	server := &http.Server{Addr: *listen, Handler: proxy, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	if *cert == "" {
		log.Fatal(server.ListenAndServe())
	}
	log.Fatal(server.ListenAndServeTLS(*cert, *key))
}
