/*
 * student.c - tells whether a role is a student's
 */
#include "guard.h"

#include "miscadmin.h"
#include "utils/acl.h"

bool gan_is_student(Oid role) {
    Oid students = get_role_oid("gan_student", true), owner = get_role_oid("gan_owner", true);

    return OidIsValid(students) && is_member_of_role_nosuper(role, students) &&
           !superuser_arg(role) && !(OidIsValid(owner) && is_member_of_role_nosuper(role, owner));
}
