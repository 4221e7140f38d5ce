import type { LoginField, LoginForm } from './login-form.ts'

/** Answers that are known before the login begins. */
export interface KnownAnswers {
  readonly username?: string
  /** Passwords and codes, in the order in which the forms ask for them. Each is used once. */
  readonly secrets: readonly string[]
  /** The value or the label of a group. */
  readonly group?: string
}

/** The answers to one form. */
export interface FormAnswers {
  readonly values: Readonly<Record<string, string>>
  /** Fields that nothing is known for. */
  readonly missing: readonly LoginField[]
  /** Whether the gateway says that an earlier answer was wrong. */
  readonly repeated: boolean
}

/**
 * Fills in login forms from what is known: the user name into the text field of that name, the next secret into each
 * password field, the group by value or label. A secret goes out once: what a gateway asks for again is missing.
 */
export class FormFiller {
  private readonly known: KnownAnswers
  private usedSecrets = 0

  constructor(known: KnownAnswers) {
    this.known = known
  }

  /** Whether a secret has gone out. */
  get begun(): boolean {
    return this.usedSecrets > 0
  }

  fill(form: LoginForm): FormAnswers {
    const values: Record<string, string> = {}
    const missing: LoginField[] = []
    const repeated = form.error !== undefined && this.begun
    for (const field of form.fields) {
      const value = repeated && field.type === 'password' ? undefined : this.answer(field)
      if (value === undefined) missing.push(field)
      else values[field.name] = value
    }
    return { values, missing, repeated }
  }

  private answer(field: LoginField): string | undefined {
    switch (field.type) {
      case 'hidden':
        return field.value ?? ''
      case 'select':
        return this.choose(field)
      case 'text':
        return /^(username|user|uname)$/i.test(field.name) ? (this.known.username ?? field.value) : field.value
      case 'password':
        return this.known.secrets[this.usedSecrets] === undefined ? undefined : this.known.secrets[this.usedSecrets++]
    }
  }

  private choose(field: LoginField): string | undefined {
    const options = field.options ?? []
    const { group } = this.known
    const wanted = field.name === 'group_list' ? group : undefined
    if (wanted === undefined) return field.value ?? options[0]?.value
    return (options.find(option => option.value === wanted) ?? options.find(option => option.label === wanted))?.value
  }
}
