package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a block of code with its language.
var block = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// TestDocumentedRequests sends the requests of docs/start.md, which are lines of curl, and compares the answers with those that stand there.
func TestDocumentedRequests(t *testing.T) {
	document, err := os.ReadFile("../start.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(s.handler())
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}

	var answers string
	requests, compared := 0, 0
	for _, match := range block.FindAllStringSubmatch(strings.ReplaceAll(string(document), "\r\n", "\n"), -1) {
		language, text := match[1], match[2]
		switch {
		case language == "sh" && strings.HasPrefix(text, "curl "):
			answers = ""
			for line := range strings.Lines(text) {
				answers += curl(t, client, server.URL, strings.TrimSpace(line))
				requests++
			}
		case language == "text":
			if text != answers {
				t.Errorf("the answers are\n%s\nthe document says\n%s", answers, text)
			}
			compared++
		}
	}
	if requests < 4 || compared < 2 {
		t.Errorf("%d requests and %d answers", requests, compared)
	}
}

// curl sends the request of a line such as: curl -b cookies -c cookies localhost:8080/sign-in -d name=ana -d 'password=a b'
func curl(t *testing.T, client *http.Client, server, line string) string {
	t.Helper()
	method, path, form := http.MethodGet, "", url.Values{}
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1)
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-b" || word == "-c":
			i++ // the client has a jar
		case word == "-X":
			i++
			method = words[i]
		case word == "-d":
			i++
			method = http.MethodPost
			name, value, _ := strings.Cut(strings.Trim(words[i], "'"), "=")
			form.Add(name, value)
		case strings.HasPrefix(word, "localhost:8080/"):
			path = strings.TrimPrefix(word, "localhost:8080")
		default:
			t.Fatalf("%q in %s is not understood", word, line)
		}
	}
	request, err := http.NewRequest(method, server+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRefusalsHaveAStatus(t *testing.T) {
	s, err := open(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		method, path, form string
		status             int
	}{
		{http.MethodPost, "/register", "email=ana&username=ana&password=correct+horse+battery", http.StatusUnprocessableEntity},
		{http.MethodPost, "/register", "email=ana@example.org&username=ana&password=correct+horse+battery", http.StatusOK},
		{http.MethodPost, "/register", "email=ANA@example.org&username=anna&password=correct+horse+battery", http.StatusConflict},
		{http.MethodPost, "/sign-in", "name=ana&password=wrong+horse", http.StatusUnauthorized},
		{http.MethodGet, "/me", "", http.StatusUnauthorized},
	} {
		request := httptest.NewRequest(c.method, c.path, strings.NewReader(c.form))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response := httptest.NewRecorder()
		s.handler().ServeHTTP(response, request)
		if response.Code != c.status {
			t.Errorf("%s %s: %d; want %d: %s", c.path, c.form, response.Code, c.status, response.Body)
		}
	}
}
