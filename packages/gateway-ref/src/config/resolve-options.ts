import type { z } from 'zod'
import type { ConfigPath, ConfigProblem } from './config-problem.ts'
import { formatValue } from './config-problem.ts'
import type { GatewayConfig, PemSource } from './gateway-config.ts'
import { namesInSection } from './json-schema.ts'
import { requiredSections, sectionSchemas } from './schema.ts'
import { checkSections } from './semantic-checks.ts'
import { unknownKey } from './suggestion.ts'

/** What came of a configuration: complete exactly when no problem is an error. */
export interface ResolvedOptions {
  readonly config: GatewayConfig | undefined
  /** The sections that point to files, as far as they are free of mistakes. */
  readonly files: FileSections
  readonly problems: readonly ConfigProblem[]
}

/** Sections that point to files. */
export type FileSections = Partial<Pick<GatewayConfig, 'tls' | 'auth' | 'access'>>

/**
 * Turns what a user wrote (`GatewayOptions`, or anything read from YAML) into what the code reads. Every mistake is
 * found in one go. Nothing is opened: files are checked by `checkConfigFiles`.
 *
 * @param resolvePath makes a path absolute, seen from where the configuration was written
 */
export function resolveGatewayOptions(options: unknown, resolvePath: (path: string) => string): ResolvedOptions {
  if (!isRecord(options)) {
    const message = `${formatValue(options)} is not a configuration; write sections such as listen, tls, pool and auth`
    return { config: undefined, files: {}, problems: [{ severity: 'error', path: [], message }] }
  }
  const problems: ConfigProblem[] = []
  const error = (path: ConfigPath, message: string) => problems.push({ severity: 'error', path, message })

  const sections: Record<string, unknown> = {}
  const unknown = Object.keys(options).filter(name => !Object.hasOwn(sectionSchemas, name))
  for (const name of unknown) error([name], unknownKey(name, namesInSection([])))
  for (const [name, schema] of Object.entries(sectionSchemas)) {
    // An empty section in YAML is null: the same as none.
    const written = options[name] ?? undefined
    const isNoSection = name === 'mtu' || name === 'access'
    const required = (requiredSections as readonly string[]).includes(name)
    const result = schema.safeParse(written ?? (required || isNoSection ? undefined : {}))
    if (result.success) sections[name] = result.data
    else for (const issue of result.error.issues) report(issue, name, error)
  }
  problems.push(...checkSections(sections))

  const complete = !problems.some(({ severity }) => severity === 'error')
  const files = filesOf(sections, resolvePath)
  const config = complete ? deepFreeze({ ...(sections as unknown as GatewayConfig), ...files }) : undefined
  return { config, files, problems }
}

function report(issue: z.core.$ZodIssue, section: string, error: (path: ConfigPath, message: string) => void): void {
  const path = [section, ...issue.path.map(step => (typeof step === 'symbol' ? String(step) : step))]
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) error([...path, key], unknownKey(key, namesInSection(path)))
  } else {
    error(path, issue.message)
  }
}

function filesOf({ tls, auth, access }: FileSections, resolvePath: (path: string) => string): FileSections {
  const optional = (path: string | undefined) => (path === undefined ? undefined : resolvePath(path))
  const pem = (source: PemSource): PemSource => ('file' in source ? { file: resolvePath(source.file) } : source)
  const passphraseFile = optional(tls?.passphraseFile)
  return {
    ...(tls?.type === 'pkcs12' ? { tls: { ...tls, file: resolvePath(tls.file), passphraseFile } } : {}),
    ...(tls?.type === 'pem'
      ? { tls: { ...tls, certificate: pem(tls.certificate), key: pem(tls.key), passphraseFile } }
      : {}),
    ...(access === undefined ? {} : { access: resolvePath(access) }),
    ...(auth ? { auth: { ...auth, users: optional(auth.users), clientCa: auth.clientCa && pem(auth.clientCa) } } : {}),
  }
}

/** Freezes plain objects and arrays; addresses and prefixes are immutable already. */
function deepFreeze<Value>(value: Value): Value {
  if (Array.isArray(value) || isRecord(value)) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
