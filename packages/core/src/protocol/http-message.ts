/** Header lines in wire order, names as spelled there. Several lines may have one name. */
export type HeaderLines = readonly (readonly [name: string, value: string])[]

/** One HTTP request, read whole. */
export interface HttpRequest {
  readonly method: string
  /** Path and query as sent, such as `/auth?x=1`. */
  readonly path: string
  readonly headers: HeaderLines
  readonly body: Uint8Array
}

/** One HTTP reply. */
export interface HttpReply {
  readonly status: number
  /** The words behind the status, as received. */
  readonly reason?: string
  readonly headers: HeaderLines
  readonly body: Uint8Array
}

/** Pairs up the flat list that Node calls `rawHeaders`. */
export function headerLines(flat: readonly string[]): HeaderLines {
  const lines: (readonly [string, string])[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) lines.push([flat[i]!, flat[i + 1]!])
  return lines
}

/** The value of the first line of that name, compared without regard to case. */
export function headerValue(headers: HeaderLines, name: string): string | undefined {
  const wanted = name.toLowerCase()
  for (const [key, value] of headers) if (key.length === wanted.length && key.toLowerCase() === wanted) return value
  return undefined
}

/** The values of all lines of that name, in order. */
export function headerValues(headers: HeaderLines, name: string): string[] {
  const wanted = name.toLowerCase()
  const values: string[] = []
  for (const [key, value] of headers)
    if (key.length === wanted.length && key.toLowerCase() === wanted) values.push(value)
  return values
}

/** Whether `text` can stand in a header line: no line breaks, no NUL or other control characters. */
export function isHeaderText(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return false
  }
  return true
}

/** Makes any text fit for a header line: control characters become blanks. */
export function headerText(text: string): string {
  let result = ''
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    result += code < 0x20 || code === 0x7f ? ' ' : text[i]
  }
  return result.trim()
}
