import { type Document, isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import type { ConfigPath, ConfigProblem, ConfigSource } from './config-problem.ts'

/** A YAML file that remembers on which line everything stands. */
export interface YamlSource {
  readonly document: Document
  /** The content as plain values; `undefined` when the text isn't YAML. */
  readonly value: unknown
  /** What keeps the text from being YAML. */
  readonly problems: readonly ConfigProblem[]
  /** Where a setting stands; for one that is missing, the line of the section that should hold it. */
  locate(path: ConfigPath): ConfigSource
}

/** Reads YAML 1.2. @param file the name for messages */
export function readYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true, logLevel: 'error' })
  const at = (offset: number): ConfigSource => ({ type: 'file', file, line: lines.linePos(offset).line || 1 })
  const problems = document.errors.map(
    ({ message, pos }): ConfigProblem => ({
      severity: 'error',
      path: [],
      message: `not valid YAML: ${withoutQuotation(message)}`,
      source: at(pos[0]),
    }),
  )
  const value = problems.length > 0 ? undefined : toPlain(document)
  if (value instanceof Error) {
    problems.push({
      severity: 'error',
      path: [],
      message: `not usable YAML: ${withoutQuotation(value.message)}`,
      source: at(0),
    })
  }
  return {
    document,
    value: value instanceof Error ? undefined : (value ?? undefined),
    problems,
    locate: path => at(offsetOf(document, path)),
  }
}

/** After a colon the parser quotes the text, which may hold a key or a password. */
function withoutQuotation(message: string): string {
  return message.replace(/\s+/g, ' ').split(': ')[0]!
}

/** Refuses aliases that would unfold into more than the file holds. */
function toPlain(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** Follows a path as far as it goes. The line of a setting is that of its key, or of an item of a list. */
function offsetOf(document: Document, path: ConfigPath): number {
  let node = document.contents as Node | null | undefined
  let offset = node?.range?.[0] ?? 0
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(key) === String(step))
      if (!pair) break
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value as Node | null
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step] as Node | undefined
      offset = node?.range?.[0] ?? offset
    } else {
      break
    }
  }
  return offset
}
