import { readFile } from 'node:fs/promises'
import type { LoginForm } from '@twinbore/core'
import type { LoginCredentials } from '@twinbore/core/io'
import type { TunnelSettings } from '../../client/tunnel-settings.ts'
import type { LogConfig } from '../../config/gateway-config.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableTunnel } from '../../gateway.ts'
import { describeSystemError } from '../../identity/io/server-identity.ts'
import { createLogger } from '../../log/io/create-logger.ts'
import type { Logger } from '../../log/logger.ts'
import type { ProgramContext } from './program-context.ts'
import { readPasswordFile, SecretReader } from './secrets.ts'
import { untilStopped } from './until-stopped.ts'

/** What `twinbore connect` takes. */
export interface ConnectCommandOptions {
  readonly user?: string
  readonly passwordFile?: string
  readonly serverPin?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly interface?: string
  /** False: only the stream channel. */
  readonly datagram: boolean
  /** False: addresses only, and nothing of the host's routes is changed. */
  readonly routes: boolean
  readonly log: LogConfig['level']
}

/** How the command makes its tunnel. */
export type TunnelFactory = (settings: TunnelSettings, log: Logger) => RunnableTunnel

/** `twinbore connect`: runs until a signal or the gateway ends it. */
export async function connectCommand(
  url: string,
  options: ConnectCommandOptions,
  context: ProgramContext,
  createTunnel: TunnelFactory,
): Promise<void> {
  const log = createLogger({ level: options.log, format: 'auto' }, context.stderr, context.environment)
  const secrets = new SecretReader(context)
  try {
    const tunnel = createTunnel(await settingsOf(url, options, secrets), log)
    await untilStopped(tunnel, context, {
      ready: () => {
        secrets.close()
        context.stdout.write(`ready: connected to ${url} on ${tunnel.interfaceName}\n`)
      },
      log,
    })
  } finally {
    secrets.close()
  }
}

async function settingsOf(url: string, options: ConnectCommandOptions, secrets: SecretReader): Promise<TunnelSettings> {
  const { user, passwordFile, serverPin, ca, cert, key } = options
  const certificate =
    cert === undefined ? {} : { certificate: { cert: await read(cert), key: await read(key ?? cert) } }
  return {
    url,
    credentials: await credentialsOf(user, passwordFile, cert !== undefined, secrets),
    ...certificate,
    ...(serverPin === undefined ? {} : { serverPin }),
    ...(ca === undefined ? {} : { ca: await read(ca) }),
    ...(options.interface === undefined ? {} : { interfaceName: options.interface }),
    datagram: options.datagram,
    routes: options.routes,
  }
}

/**
 * On a terminal every question is asked when the gateway asks it, again after a wrong answer. Elsewhere the first line of
 * standard input is the password, further lines answer further questions, and a wrong answer is final.
 */
async function credentialsOf(
  username: string | undefined,
  passwordFile: string | undefined,
  hasCertificate: boolean,
  secrets: SecretReader,
): Promise<LoginCredentials> {
  const eager = username !== undefined && !hasCertificate && !secrets.isTerminal
  const password =
    passwordFile !== undefined ? await readPasswordFile(passwordFile) : eager ? await secrets.ask('') : undefined
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    answerForm: (form, filled) => answerForm(form, filled, secrets),
  }
}

async function answerForm(
  form: LoginForm,
  filled: Readonly<Record<string, string>>,
  secrets: SecretReader,
): Promise<Record<string, string> | undefined> {
  if (form.error !== undefined && !secrets.isTerminal) return undefined
  for (const text of [form.banner, form.message, form.error]) if (text) secrets.tell(text)
  const answers: Record<string, string> = {}
  for (const { type, name, label, options } of form.fields) {
    if (type === 'hidden' || name in filled) continue
    const choices = options ? ` (${options.map(({ value }) => value).join(', ')})` : ''
    const answer = secrets.ask(`${label || name}${choices} `, { echo: type !== 'password' })
    if (secrets.isTerminal) answers[name] = await answer
    else {
      // Standard input has no more to say: what the gateway said to what it got is the answer.
      const line = await answer.catch(() => undefined)
      if (line === undefined) return undefined
      answers[name] = line
    }
  }
  return answers
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new GatewayError('ERR_GATEWAY_CERTIFICATE', `'${file}' can't be read: ${describeSystemError(cause)}`, {
      cause,
    })
  })
}
