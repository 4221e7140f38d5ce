// Every bound on what a peer can make this package read, keep or wait for during login and negotiation.

/** The longest request head that a gateway reads, in bytes. Beyond it: 431 and close. */
export const MAX_REQUEST_HEAD_BYTES = 16_384
/** The longest request body that a gateway reads, in bytes. Beyond it: 413 and close. */
export const MAX_REQUEST_BODY_BYTES = 65_536
/** Requests on one connection before a tunnel; the one after is refused and the connection closed. */
export const MAX_REQUESTS_PER_CONNECTION = 16
/** How long a TLS handshake may take. */
export const TLS_HANDSHAKE_SECONDS = 40
/** How long it may take from the first byte of a connection to its tunnel, and from the first form to the cookie. */
export const LOGIN_SECONDS = 240

/** The longest reply head that a client reads, in bytes: room for some ten thousand split routes. */
export const MAX_REPLY_HEAD_BYTES = 1_048_576
/** The longest reply body that a client reads, in bytes. */
export const MAX_REPLY_BODY_BYTES = 262_144
/** Redirects that a client follows in one login. */
export const MAX_REDIRECTS = 10
/** Requests that a client makes in one login, redirects among them. */
export const MAX_LOGIN_REQUESTS = 32

/** XML: nesting, elements in all, attributes of one element, and characters of one name. */
export const MAX_XML_DEPTH = 8
export const MAX_XML_ELEMENTS = 64
export const MAX_XML_ATTRIBUTES = 16
export const MAX_XML_NAME_LENGTH = 64
/** XML elements that a client reads: gateways list every login group as one. */
export const MAX_XML_REPLY_ELEMENTS = 1024

/** Cookies that are kept of one header or one login, and the longest value of one. */
export const MAX_COOKIES = 16
export const MAX_COOKIE_LENGTH = 16_384
/** A session cookie: 32 random bytes in base64url without padding. */
export const SESSION_COOKIE_BYTES = 32
export const SESSION_COOKIE_LENGTH = 43

/** Fields of one login form, and the longest answer to one (an access token has its place in 16 KiB). */
export const MAX_FORM_FIELDS = 32
export const MAX_FIELD_LENGTH = 16_384
/** The longest user name, in UTF-16 code units. */
export const MAX_USERNAME_LENGTH = 256
/** The longest text of a peer (titles, messages, labels, host names) that is kept. Longer text is cut. */
export const MAX_TEXT_LENGTH = 4096

/** Bounds of every MTU that a peer names (RFC 791 §3.2 asks hosts for 576, RFC 8200 §5 for 1280). */
export const MIN_MTU = 576
export const MIN_IPV6_MTU = 1280
export const MAX_MTU = 16_384
/** The longest time that a peer can announce, in seconds: a year and a day. Longer ones are cut. */
export const MAX_ANNOUNCED_SECONDS = 31_622_400
/** List entries of a reply to CONNECT that a client keeps: name servers, search domains, split domains, routes. */
export const MAX_NAME_SERVERS = 16
export const MAX_DOMAINS = 1024
export const MAX_ROUTES = 16_384
