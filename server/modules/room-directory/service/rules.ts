import { compileGlob, foldCase } from '../../../matrix/push-rules/glob.ts';

/** A rule for aliases or the directory. Globs: `*` and `?`, without regard to case. */
export interface DirectoryRule {
  readonly userId: string;
  readonly alias: string;
  readonly roomId: string;
  readonly action: 'allow' | 'deny';
}

/** What rules are asked about: who does it, to which room, and the aliases in question. */
export interface RuleSubject {
  readonly userId: string;
  readonly roomId: string;
  readonly aliases: readonly string[];
}

/**
 * Makes a list of rules ready. The first rule that matches decides; if none does, it is refused. Of several aliases one
 * has to match; where there is none, only rules for any alias do.
 */
export function compileRules(rules: readonly DirectoryRule[]): (subject: RuleSubject) => boolean {
  const compiled = rules.map(({ userId, alias, roomId, action }) => ({
    action,
    isForAnyAlias: alias === '*',
    userId: compileGlob(userId),
    alias: compileGlob(alias),
    roomId: compileGlob(roomId),
  }));
  return ({ userId, roomId, aliases }) => {
    const decisive = compiled.find(
      (rule) =>
        rule.userId.matchesWhole(foldCase(userId)) &&
        rule.roomId.matchesWhole(foldCase(roomId)) &&
        (rule.isForAnyAlias || aliases.some((alias) => rule.alias.matchesWhole(foldCase(alias)))),
    );
    return decisive?.action === 'allow';
  };
}
