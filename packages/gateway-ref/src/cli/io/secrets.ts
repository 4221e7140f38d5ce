import { readFile } from 'node:fs/promises'
import { StringDecoder } from 'node:string_decoder'
import { GatewayError } from '../../errors.ts'
import { describeSystemError } from '../../identity/io/server-identity.ts'
import type { ProgramContext } from './program-context.ts'

const maxSecretLength = 1024

/**
 * Asks for passwords and codes: on a terminal without echo; elsewhere line by line from standard input, in the order of
 * the questions. `close` gives standard input back, so that the process can end.
 */
export class SecretReader {
  private readonly context: ProgramContext
  private buffered = ''
  private ended = false
  private readonly decoder = new StringDecoder('utf8')

  constructor(context: ProgramContext) {
    this.context = context
  }

  get isTerminal(): boolean {
    const { stdin } = this.context
    return stdin.isTTY === true && stdin.setRawMode !== undefined
  }

  /**
   * Reads one secret, or with `echo` any answer. The question is shown on standard error, on a terminal only.
   *
   * @throws GatewayError `ERR_GATEWAY_ABORTED` on Ctrl-C, end of input or an overlong line
   */
  async ask(question: string, options: { readonly echo?: boolean } = {}): Promise<string> {
    if (!this.isTerminal) return this.readLine()
    const { stdin, stderr } = this.context
    stdin.setRawMode!(true)
    try {
      // Only now: what is typed at the sight of the question must not be shown.
      stderr.write(printable(question))
      return await this.readTyped(options.echo === true ? text => stderr.write(text) : () => {})
    } finally {
      stdin.setRawMode!(false)
      stderr.write('\n')
    }
  }

  /** Asks for a new password: twice on a terminal. @throws GatewayError when the two differ */
  async askNew(question: string, again: string): Promise<string> {
    const first = await this.ask(question)
    if (first === '') throw new GatewayError('ERR_GATEWAY_ABORTED', 'the password is empty')
    if (this.isTerminal && (await this.ask(again)) !== first) {
      throw new GatewayError('ERR_GATEWAY_ABORTED', 'the two passwords differ')
    }
    return first
  }

  /** Shows what the other side says, on a terminal only. */
  tell(text: string): void {
    if (this.isTerminal) this.context.stderr.write(`${printable(text)}\n`)
  }

  close(): void {
    this.context.stdin.pause()
    this.context.stdin.unref?.()
  }

  private async readTyped(echo: (text: string) => void): Promise<string> {
    let typed: string[] = []
    for (;;) {
      while (this.buffered !== '') {
        const [key] = this.buffered
        this.buffered = this.buffered.slice(key!.length)
        switch (key) {
          case '\r':
          case '\n':
            return typed.join('')
          case '\u0003':
            throw new GatewayError('ERR_GATEWAY_ABORTED', 'stopped at the password')
          case '\u0004':
            if (typed.length > 0) return typed.join('')
            throw new GatewayError('ERR_GATEWAY_ABORTED', 'no password given')
          case '\u007f':
          case '\b':
            if (typed.pop() !== undefined) echo('\b \b')
            break
          case '\u0015':
            echo('\b \b'.repeat(typed.length))
            typed = []
            break
          default:
            if (/\p{Cc}/u.test(key!)) break
            typed.push(key!)
            echo(key!)
            if (typed.length > maxSecretLength) throw tooLong()
        }
      }
      if (!(await this.fill())) throw new GatewayError('ERR_GATEWAY_ABORTED', 'no password given')
    }
  }

  private async readLine(): Promise<string> {
    for (;;) {
      const end = this.buffered.indexOf('\n')
      if (end >= 0 || (this.ended && this.buffered !== '')) {
        const line = end >= 0 ? this.buffered.slice(0, end) : this.buffered
        this.buffered = end >= 0 ? this.buffered.slice(end + 1) : ''
        if (line.length > maxSecretLength) throw tooLong()
        return line.replace(/\r$/, '')
      }
      if (this.buffered.length > maxSecretLength) throw tooLong()
      if (!(await this.fill())) {
        if (this.buffered !== '') continue
        throw new GatewayError('ERR_GATEWAY_ABORTED', 'standard input ended before the password')
      }
    }
  }

  /** Waits for more input. False at its end. */
  private async fill(): Promise<boolean> {
    const { stdin } = this.context
    // The end may have come while nobody listened.
    if (this.ended || stdin.readableEnded || stdin.destroyed) {
      this.ended = true
      return false
    }
    const chunk = await new Promise<Buffer | string | undefined>((resolve, reject) => {
      const settle = (act: () => void) => {
        stdin.pause()
        stdin.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError)
        act()
      }
      const onData = (data: Buffer | string) => settle(() => resolve(data))
      const onEnd = () => settle(() => resolve(undefined))
      const onError = (error: Error) => settle(() => reject(error))
      stdin.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError).resume()
    })
    if (chunk === undefined) this.ended = true
    else this.buffered += typeof chunk === 'string' ? chunk : this.decoder.write(chunk)
    return chunk !== undefined
  }
}

/** Reads a password from the first line of a file. */
export async function readPasswordFile(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new GatewayError('ERR_GATEWAY_ABORTED', `'${file}' can't be read: ${describeSystemError(cause)}`, { cause })
  })
  const [line] = text.split(/\r?\n/, 1)
  if (line === undefined || line === '')
    throw new GatewayError('ERR_GATEWAY_ABORTED', `'${file}' has an empty first line`)
  if (line.length > maxSecretLength) throw tooLong()
  return line
}

/** What a peer sends must not steer the terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, character => (character === '\n' ? ' ' : ''))
}

function tooLong(): GatewayError {
  return new GatewayError('ERR_GATEWAY_ABORTED', `a password has at most ${maxSecretLength} characters`)
}
