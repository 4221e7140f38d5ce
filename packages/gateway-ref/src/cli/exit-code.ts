/** Exit codes of the program, a promise to scripts. `configuration` is EX_CONFIG of sysexits. */
export const exitCode: {
  readonly ok: 0
  readonly failure: 1
  readonly usage: 2
  readonly configuration: 78
} = Object.freeze({ ok: 0, failure: 1, usage: 2, configuration: 78 })

/** One of the exit codes. */
export type ExitCode = (typeof exitCode)[keyof typeof exitCode]
