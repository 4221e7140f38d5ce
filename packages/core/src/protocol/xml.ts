import { MAX_XML_ATTRIBUTES, MAX_XML_DEPTH, MAX_XML_ELEMENTS, MAX_XML_NAME_LENGTH } from './limits.ts'

/** An element with its attributes and, in order, its texts and child elements. */
export interface XmlElement {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
  readonly content: readonly (XmlElement | string)[]
}

/** Builds an element. Attributes and content that are `undefined` are left out. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | undefined>> = {},
  ...content: readonly (XmlElement | string | undefined)[]
): XmlElement {
  const given = Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return { name, attributes: new Map(given), content: content.filter(item => item !== undefined) }
}

/** The first child element of that name. */
export function childOf(parent: XmlElement | undefined, name: string): XmlElement | undefined {
  for (const item of parent?.content ?? []) if (typeof item !== 'string' && item.name === name) return item
  return undefined
}

/** All child elements. */
export function childrenOf(parent: XmlElement): XmlElement[] {
  return parent.content.filter(item => typeof item !== 'string')
}

/** The texts directly inside an element, joined, without blanks at the ends. */
export function textOf(parent: XmlElement | undefined): string {
  return exactTextOf(parent).trim()
}

/** Like `textOf` with every blank: passwords may begin or end with one. */
export function exactTextOf(parent: XmlElement | undefined): string {
  return (parent?.content ?? []).filter(item => typeof item === 'string').join('')
}

/**
 * Reads the XML of the login dialogue: elements, attributes, text, CDATA, comments, the five named entities and numeric
 * character references. There is no DTD, no other entity and no namespace handling; a document with one, and anything
 * malformed or beyond the limits (depth 8, 64 elements unless told otherwise, 16 attributes, names of 64), gives
 * `undefined`. Time and memory are linear in the length of the text, which the caller bounds.
 */
export function readXml(text: string, maxElements: number = MAX_XML_ELEMENTS): XmlElement | undefined {
  return new Reader(text, maxElements).document()
}

/** Writes a document with an XML declaration. */
export function writeXml(root: XmlElement): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${writeElement(root)}\n`
}

const NAME = /[A-Za-z_][\w.:-]*/y
const BLANKS = /[ \t\r\n]*/y
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

class Reader {
  private readonly text: string
  private readonly maxElements: number
  private at = 0
  private elements = 0

  constructor(text: string, maxElements: number) {
    this.text = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
    this.maxElements = maxElements
  }

  document(): XmlElement | undefined {
    this.match(BLANKS)
    if (this.text.startsWith('<?xml', this.at) && !this.skipPast('?>', 2)) return undefined
    if (!this.skipMisc()) return undefined
    const root = this.element(1)
    if (!root || !this.skipMisc()) return undefined
    return this.at === this.text.length ? root : undefined
  }

  private element(depth: number): XmlElement | undefined {
    if (depth > MAX_XML_DEPTH || ++this.elements > this.maxElements || !this.take('<')) return undefined
    const name = this.name()
    if (name === undefined) return undefined
    const attributes = this.attributes()
    if (!attributes) return undefined
    if (this.take('/>')) return { name, attributes, content: [] }
    if (!this.take('>')) return undefined
    const content = this.content(depth)
    if (!content || !this.take('</') || this.name() !== name) return undefined
    this.match(BLANKS)
    return this.take('>') ? { name, attributes, content } : undefined
  }

  private content(depth: number): (XmlElement | string)[] | undefined {
    const content: (XmlElement | string)[] = []
    const addText = (text: string) => {
      if (text === '') return
      if (typeof content.at(-1) === 'string') content[content.length - 1] += text
      else content.push(text)
    }
    for (;;) {
      const open = this.text.indexOf('<', this.at)
      if (open === -1) return undefined
      const text = unescapeText(this.text.slice(this.at, open))
      if (text === undefined) return undefined
      addText(text)
      this.at = open
      if (this.text.startsWith('</', open)) return content
      if (this.text.startsWith('<!--', open)) {
        if (!this.skipPast('-->', 4)) return undefined
      } else if (this.text.startsWith('<![CDATA[', open)) {
        if (!this.skipPast(']]>', 9)) return undefined
        addText(this.text.slice(open + 9, this.at - 3))
      } else {
        const child = this.element(depth + 1)
        if (!child) return undefined
        content.push(child)
      }
    }
  }

  private attributes(): Map<string, string> | undefined {
    const attributes = new Map<string, string>()
    for (;;) {
      const blanks = this.match(BLANKS)
      const next = this.text[this.at]
      if (next === '>' || next === '/') return attributes
      if (!blanks || attributes.size === MAX_XML_ATTRIBUTES) return undefined
      const name = this.name()
      if (name === undefined || attributes.has(name)) return undefined
      this.match(BLANKS)
      if (!this.take('=')) return undefined
      this.match(BLANKS)
      const quote = this.text[this.at]
      if (quote !== '"' && quote !== "'") return undefined
      const end = this.text.indexOf(quote, this.at + 1)
      if (end === -1) return undefined
      const raw = this.text.slice(this.at + 1, end)
      const value = raw.includes('<') ? undefined : unescapeText(raw)
      if (value === undefined) return undefined
      attributes.set(name, value)
      this.at = end + 1
    }
  }

  private name(): string | undefined {
    const name = this.match(NAME)
    return name === '' || name.length > MAX_XML_NAME_LENGTH ? undefined : name
  }

  /** Skips blanks, comments and processing instructions around the root element. */
  private skipMisc(): boolean {
    for (;;) {
      this.match(BLANKS)
      if (this.text.startsWith('<!--', this.at)) {
        if (!this.skipPast('-->', 4)) return false
      } else if (this.text.startsWith('<?', this.at)) {
        if (!this.skipPast('?>', 2)) return false
      } else return true
    }
  }

  /** Moves behind the next `mark`, which stands at least `opening` characters ahead. */
  private skipPast(mark: string, opening: number): boolean {
    const found = this.text.indexOf(mark, this.at + opening)
    if (found === -1) return false
    this.at = found + mark.length
    return true
  }

  private take(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false
    this.at += token.length
    return true
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0] ?? ''
    this.at += found.length
    return found
  }
}

function unescapeText(text: string): string | undefined {
  if (!text.includes('&')) return text
  let result = ''
  let at = 0
  for (;;) {
    const mark = text.indexOf('&', at)
    if (mark === -1) return result + text.slice(at)
    const end = text.indexOf(';', mark)
    if (end === -1 || end - mark > 10) return undefined
    const character = referenced(text.slice(mark + 1, end))
    if (character === undefined) return undefined
    result += text.slice(at, mark) + character
    at = end + 1
  }
}

function referenced(name: string): string | undefined {
  if (Object.hasOwn(ENTITIES, name)) return ENTITIES[name]
  const digits = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name)
  if (!digits) return undefined
  const code = digits[1] !== undefined ? Number.parseInt(digits[1], 16) : Number(digits[2])
  const allowed = code === 9 || code === 10 || code === 13 || (code >= 0x20 && code <= 0x10ffff)
  return allowed && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : undefined
}

function writeElement({ name, attributes, content }: XmlElement): string {
  let start = `<${name}`
  for (const [key, value] of attributes) start += ` ${key}="${escapeText(value)}"`
  if (content.length === 0) return `${start}/>`
  let inner = ''
  for (const item of content) inner += typeof item === 'string' ? escapeText(item) : writeElement(item)
  return `${start}>${inner}</${name}>`
}

/** XML 1.0 has no way to write most control characters: they become U+FFFD. */
function escapeText(text: string): string {
  let result = ''
  for (const character of text) {
    const code = character.codePointAt(0)!
    if (code === 0x26) result += '&amp;'
    else if (code === 0x3c) result += '&lt;'
    else if (code === 0x3e) result += '&gt;'
    else if (code === 0x22) result += '&quot;'
    else if (code === 9 || code === 10 || code === 13) result += `&#${code};`
    else if (code < 0x20 || (code >= 0xd800 && code <= 0xdfff)) result += '\ufffd'
    else result += character
  }
  return result
}
