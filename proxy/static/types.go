package static

import (
	"sort"
	"strings"
)

// builtin are the endings of nginx's mime.types by media type.
var builtin = map[string]string{
	"text/html":                               "html htm shtml",
	"text/css":                                "css",
	"text/xml":                                "xml",
	"text/mathml":                             "mml",
	"text/plain":                              "txt",
	"text/vnd.sun.j2me.app-descriptor":        "jad",
	"text/vnd.wap.wml":                        "wml",
	"text/x-component":                        "htc",
	"image/gif":                               "gif",
	"image/jpeg":                              "jpeg jpg",
	"image/avif":                              "avif",
	"image/png":                               "png",
	"image/svg+xml":                           "svg svgz",
	"image/tiff":                              "tif tiff",
	"image/vnd.wap.wbmp":                      "wbmp",
	"image/webp":                              "webp",
	"image/x-icon":                            "ico",
	"image/x-jng":                             "jng",
	"image/x-ms-bmp":                          "bmp",
	"font/woff":                               "woff",
	"font/woff2":                              "woff2",
	"application/javascript":                  "js",
	"application/atom+xml":                    "atom",
	"application/rss+xml":                     "rss",
	"application/java-archive":                "jar war ear",
	"application/json":                        "json",
	"application/mac-binhex40":                "hqx",
	"application/msword":                      "doc",
	"application/pdf":                         "pdf",
	"application/postscript":                  "ps eps ai",
	"application/rtf":                         "rtf",
	"application/vnd.apple.mpegurl":           "m3u8",
	"application/vnd.google-earth.kml+xml":    "kml",
	"application/vnd.google-earth.kmz":        "kmz",
	"application/vnd.ms-excel":                "xls",
	"application/vnd.ms-fontobject":           "eot",
	"application/vnd.ms-powerpoint":           "ppt",
	"application/vnd.wap.wmlc":                "wmlc",
	"application/wasm":                        "wasm",
	"application/x-7z-compressed":             "7z",
	"application/x-cocoa":                     "cco",
	"application/x-java-archive-diff":         "jardiff",
	"application/x-java-jnlp-file":            "jnlp",
	"application/x-makeself":                  "run",
	"application/x-perl":                      "pl pm",
	"application/x-pilot":                     "prc pdb",
	"application/x-rar-compressed":            "rar",
	"application/x-redhat-package-manager":    "rpm",
	"application/x-sea":                       "sea",
	"application/x-shockwave-flash":           "swf",
	"application/x-stuffit":                   "sit",
	"application/x-tcl":                       "tcl tk",
	"application/x-x509-ca-cert":              "der pem crt",
	"application/x-xpinstall":                 "xpi",
	"application/xhtml+xml":                   "xhtml",
	"application/xspf+xml":                    "xspf",
	"application/zip":                         "zip",
	"application/octet-stream":                "bin exe dll deb dmg iso img msi msp msm",
	"audio/midi":                              "mid midi kar",
	"audio/mpeg":                              "mp3",
	"audio/ogg":                               "ogg",
	"audio/x-m4a":                             "m4a",
	"audio/x-realaudio":                       "ra",
	"video/3gpp":                              "3gpp 3gp",
	"video/mp2t":                              "ts",
	"video/mp4":                               "mp4",
	"video/mpeg":                              "mpeg mpg",
	"video/quicktime":                         "mov",
	"video/webm":                              "webm",
	"video/x-flv":                             "flv",
	"video/x-m4v":                             "m4v",
	"video/x-mng":                             "mng",
	"video/x-ms-asf":                          "asx asf",
	"video/x-ms-wmv":                          "wmv",
	"video/x-msvideo":                         "avi",
	officeOpen + "presentation":               "odp",
	officeOpen + "spreadsheet":                "ods",
	officeOpen + "graphics":                   "odg",
	officeOpen + "text":                       "odt",
	officeXML + "presentationml.presentation": "pptx",
	officeXML + "spreadsheetml.sheet":         "xlsx",
	officeXML + "wordprocessingml.document":   "docx",
}

const (
	officeOpen = "application/vnd.oasis.opendocument."
	officeXML  = "application/vnd.openxmlformats-officedocument."
)

// BuiltinTypes are the media types of names by ending that are known without
// the configuration's help. The caller may change the map.
func BuiltinTypes() map[string]string {
	table := make(map[string]string, 2*len(builtin))
	for media, endings := range builtin {
		for _, ending := range strings.Fields(endings) {
			table[ending] = media
		}
	}
	return table
}

// types is the table of a configuration: the whole Content-Type by ending.
type types struct {
	byEnding map[string]string
	other    string
}

func newTypes(c *Config) types {
	t := types{byEnding: make(map[string]string), other: c.DefaultType}
	if c.BuiltinTypes {
		t.byEnding = BuiltinTypes()
	}
	for media, endings := range c.Types {
		for _, ending := range endings {
			t.byEnding[strings.ToLower(ending)] = media
		}
	}
	return t
}

// of is the Content-Type of a path, or "".
func (t *types) of(path []byte) string {
	var lower [16]byte
	for i := len(path) - 1; i > 0 && path[i] != '/'; i-- {
		if path[i] != '.' || path[i-1] == '/' {
			continue
		}
		ending := path[i+1:]
		if len(ending) > len(lower) {
			break
		}
		for j, c := range ending {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			lower[j] = c
		}
		if media, found := t.byEnding[string(lower[:len(ending)])]; found {
			return media
		}
		break
	}
	return t.other
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
