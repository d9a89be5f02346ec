/* fc_fail: the one place where an error's sentence is written.  Called by every check. */
#include "status.h"
#include <stdarg.h>
#include <stdio.h>

fc_status fc_fail(fc_error *error, fc_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    error->status = status;
    return status;
}
